"""Precisions, and which file of a bundle computes which of them on which inference engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HOST = "host"  # the device that is this machine

#: precision, wide to narrow -> values that a vector unit handles in the time of one fp32
PRECISIONS = {"fp32": 1, "fp16": 2, "int8": 4}


@dataclass(frozen=True)
class EngineVariants:
    """What an inference engine runs."""

    files: Mapping[str, tuple[str, ...]]  # precision -> model keys of a bundle, the better first
    float_in_int8: str  # what float kernels of an int8 file are computed in, where accelerated


_ACCELERATOR = EngineVariants(
    {"fp32": ("fp32",), "fp16": ("fp16", "fp32"), "int8": ("int8.trt", "int8")}, "fp16"
)
ENGINES: Mapping[str, EngineVariants] = {
    "tensorrt": _ACCELERATOR,
    "npu": _ACCELERATOR,
    "onnxruntime": EngineVariants({"fp32": ("fp32",), "int8": ("int8", "int8.trt")}, "fp32"),
}
