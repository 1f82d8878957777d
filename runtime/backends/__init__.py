"""Engines by name: a file each, whose engine is imported when a model is loaded, never before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from runtime.backends.runner import IMAGE, PIXELS, TENSOR, Runner, finite, whole_number
from runtime.errors import BackendError

__all__ = ["BACKENDS", "IMAGE", "PIXELS", "TENSOR", "Backend", "Runner", "backend", "finite"]
__all__ += ["load", "whole_number"]


@dataclass(frozen=True)
class Backend:
    """An engine: what loads it, what it runs, and how its int8 model is judged."""

    module: str  # our module with its ``load``
    library: str  # the engine's own Python module
    packages: tuple[str, ...]  # its builds on PyPI, the usual one first
    files: tuple[str, ...]  # models of a bundle that are meant for it, the best first
    rival: str  # the float model that its int8 model has to beat,
    min_speedup: float  # by this factor
    integer_kernels: frozenset[str]  # convolutions and products in a bench row's "kernels"
    float_kernels: frozenset[str]
    unit: str  # "cpu" or "gpu", whose clock and power its work shows in; a runner's own wins
    models: Mapping[str, str] = field(default_factory=dict)  # precision -> key, where they differ

    def model(self, precision: str) -> str:
        """The key in the manifest of the model that runs for ``precision``."""
        return self.models.get(precision, precision)

    def is_quantized(self, kernels: Mapping[str, int]) -> bool:
        """Whether most convolutions and products in ``kernels`` (name -> count) are integer."""
        integer = sum(count for name, count in kernels.items() if name in self.integer_kernels)
        return integer > sum(n for name, n in kernels.items() if name in self.float_kernels)


_ORT_BUILDS = (
    "onnxruntime onnxruntime-gpu onnxruntime-openvino onnxruntime-qnn onnxruntime-directml"
)
# Names that onnxruntime's profile gives to executed kernels.
_ORT_INTEGER = """
    QLinearConv QLinearMatMul QLinearAdd QLinearMul QLinearConcat QLinearGlobalAveragePool
    QLinearAveragePool QLinearLeakyRelu QLinearSigmoid QLinearSoftmax QLinearReduceMean QGemm
    ConvInteger MatMulInteger MatMulIntegerToFloat DynamicQuantizeMatMul QAttention
"""
_ORT_FLOAT = "Conv FusedConv NhwcFusedConv Gemm FusedGemm MatMul FusedMatMul Attention"
_TRT_FLOAT = ("fp32", "fp16", "bf16", "fp8", "unknown")

BACKENDS: dict[str, Backend] = {
    "onnxruntime": Backend(
        module="runtime.backends.onnxruntime",
        library="onnxruntime",
        packages=tuple(_ORT_BUILDS.split()),
        files=("int8", "fp32"),
        rival="fp32",
        min_speedup=1.5,
        integer_kernels=frozenset(_ORT_INTEGER.split()),
        float_kernels=frozenset(_ORT_FLOAT.split()),
        unit="cpu",
    ),
    "tensorrt": Backend(
        module="runtime.backends.tensorrt",
        library="tensorrt",
        packages=("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11"),
        files=("int8.trt", "fp16", "fp32"),
        rival="fp16",
        min_speedup=1.2,
        integer_kernels=frozenset({"int8 compute"}),
        float_kernels=frozenset(f"{kind} compute" for kind in _TRT_FLOAT),
        unit="gpu",
        models={"int8": "int8.trt"},
    ),
}


def backend(name: str) -> Backend:
    """The row of ``name``; an unknown one raises a BackendError."""
    if not isinstance(name, str) or name not in BACKENDS:
        raise BackendError("unknown backend", got=repr(name), expected=", ".join(BACKENDS))
    return BACKENDS[name]


def load(name: str, model: Path, **options: Any) -> Runner:
    """Loads ``model`` with engine ``name``; see the engine's ``load`` for its options.

    Raises: BackendError: no such option; and what the engine's ``load`` raises.
    """
    loader: Callable[..., Runner] = import_module(backend(name).module).load
    known = list(signature(loader).parameters)[1:]
    if unknown := options.keys() - known:
        got = ", ".join(sorted(unknown))
        raise BackendError(f"unknown option of {name}", got=got, expected=", ".join(known))
    return loader(model, **options)
