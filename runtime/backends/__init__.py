"""Engines by name: a file each, whose engine is imported when a model is loaded, never before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from runtime.backends.runner import IMAGE, PIXELS, TENSOR, Runner, finite, whole_number
from runtime.errors import BackendError

__all__ = ["BACKENDS", "IMAGE", "PIXELS", "TENSOR", "Backend", "Runner", "backend", "finite"]
__all__ += ["load", "readers", "whole_number"]


@dataclass(frozen=True)
class Backend:
    """An engine: what loads it, what it runs, and how its int8 model is judged."""

    module: str  # our module with its ``load``
    library: str  # the engine's own Python module
    packages: tuple[str, ...]  # its builds on PyPI, the usual one first
    extra: str  # of pip install 'clip2edge[...]'
    files: tuple[str, ...]  # models of a bundle that are meant for it, the best first
    rival: str  # the float model that its int8 model has to beat,
    min_speedup: float  # by this factor
    integer_kernels: frozenset[str]  # convolutions and products in a bench row's "kernels"
    float_kernels: frozenset[str]
    unit: str  # "cpu" or "gpu", whose clock and power its work shows in; a runner's own wins
    models: Mapping[str, str] = field(default_factory=dict)  # precision -> key, where they differ
    reads: tuple[str, ...] = (".onnx",)  # suffixes of model files
    format: str = ""  # its own, of export targets such as "int8.openvino"
    memory_is_limited: bool = False  # it runs in a process whose address space is bounded
    parts: tuple[str, ...] = ()  # modules that load all of it, where importing ``library`` does not

    def model(self, precision: str, default: str = "", targets: Collection[str] = ()) -> str:
        """The key in the manifest of the model that runs for ``precision``.

        That of its own format, if the bundle has it among its ``targets``; "auto" is the
        bundle's ``default``, or for an engine that reads no ONNX its best file in the bundle.
        """
        if precision == "auto":
            own = next((file for file in self.files if file in targets), default)
            precision = default if ".onnx" in self.reads else own
        target = f"{precision}.{self.format}"
        if self.format and target in targets:
            return target
        return self.models.get(precision, precision)

    def is_quantized(self, kernels: Mapping[str, int]) -> bool:
        """Whether most convolutions and products in ``kernels`` (name -> count) are integer."""
        integer = sum(count for name, count in kernels.items() if name in self.integer_kernels)
        return integer > sum(n for name, n in kernels.items() if name in self.float_kernels)

    def preload(self) -> None:
        """Imports the engine before memory is measured or bounded; ``load`` reports a failure."""
        with suppress(ImportError):
            for name in self.parts or (self.library,):
                import_module(name)


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
# Names that OpenVINO's counters give to executed operators; the type of their kernel follows.
_OV_PRODUCTS = """
    Convolution GroupConvolution MatMul FullyConnected FullyConnectedCompressed
    FullyConnectedQuantized FullyConnectedQuantizedLegacy
"""
_LITERT_PRODUCTS = "CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED BATCH_MATMUL"
_XNNPACK_PRODUCTS = "Conv2d DepthwiseConv2d ConvTranspose2d FullyConnected BatchMatrixMultiply"
_PORTABLE_PRODUCTS = "aten::convolution aten::addmm aten::mm aten::bmm aten::linear"
_TRT_FLOAT = ("fp32", "fp16", "bf16", "fp8", "unknown")


def _products(operators: str, types: str) -> frozenset[str]:
    """ "Convolution MatMul", "I8" -> {"Convolution I8", "MatMul I8"}."""
    return frozenset(f"{name} {kind}" for name in operators.split() for kind in types.split())


BACKENDS: dict[str, Backend] = {
    "onnxruntime": Backend(
        module="runtime.backends.onnxruntime",
        library="onnxruntime",
        packages=tuple(_ORT_BUILDS.split()),
        extra="ort",
        files=("int8", "fp32"),
        rival="fp32",
        min_speedup=1.5,
        integer_kernels=frozenset(_ORT_INTEGER.split()),
        float_kernels=frozenset(_ORT_FLOAT.split()),
        unit="cpu",
        reads=(".onnx", ".ort"),
        memory_is_limited=True,
    ),
    "openvino": Backend(
        module="runtime.backends.openvino",
        library="openvino",
        packages=("openvino",),
        extra="openvino",
        files=("int8", "fp32"),
        rival="fp32",
        min_speedup=1.5,
        integer_kernels=_products(_OV_PRODUCTS, "I8 U8"),
        float_kernels=_products(_OV_PRODUCTS, "F32 F16 BF16 FP32 FP16"),
        unit="cpu",
        reads=(".onnx", ".xml"),
        format="openvino",
        memory_is_limited=True,
    ),
    "ncnn": Backend(
        module="runtime.backends.ncnn",
        library="ncnn",
        packages=("ncnn",),
        extra="ncnn",
        files=("fp16.ncnn", "fp32.ncnn"),
        rival="fp32",
        min_speedup=1.5,
        integer_kernels=frozenset(),  # it counts none
        float_kernels=frozenset(),
        unit="cpu",
        reads=(".param",),
        format="ncnn",
        memory_is_limited=True,
    ),
    "litert": Backend(
        module="runtime.backends.litert",
        library="ai_edge_litert",
        packages=("ai-edge-litert",),
        extra="litert",
        files=("int8.litert", "fp32.litert"),
        rival="fp32",
        min_speedup=1.5,
        integer_kernels=_products(_LITERT_PRODUCTS, "int8"),
        float_kernels=_products(_LITERT_PRODUCTS, "float32"),
        unit="cpu",
        reads=(".tflite",),
        format="litert",
        memory_is_limited=True,
    ),
    "executorch": Backend(
        module="runtime.backends.executorch",
        library="executorch",
        packages=("executorch",),
        extra="executorch",
        files=("int8.executorch", "fp32.executorch"),
        rival="fp32",
        min_speedup=1.5,
        integer_kernels=_products(_XNNPACK_PRODUCTS, "int8"),
        float_kernels=_products(_XNNPACK_PRODUCTS, "float32")
        | frozenset(_PORTABLE_PRODUCTS.split()),
        unit="cpu",
        reads=(".pte",),
        format="executorch",
        memory_is_limited=True,
        parts=("torch", "executorch.extension.pybindings._C"),
    ),
    "tensorrt": Backend(
        module="runtime.backends.tensorrt",
        library="tensorrt",
        packages=("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11"),
        extra="trt",
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


def readers(suffix: str) -> list[str]:
    """The engines that read files with this suffix."""
    return [name for name, row in BACKENDS.items() if suffix in row.reads]


def load(name: str, model: Path, **options: Any) -> Runner:
    """Loads ``model`` with engine ``name``; see the engine's ``load`` for its options.

    Raises: BackendError: no such option, or a file of another engine; and what the engine's
        ``load`` raises.
    """
    row = backend(name)
    suffix = Path(model).suffix
    if suffix not in row.reads and (others := readers(suffix)):
        expected = f"a file that ends in {' or '.join(row.reads)}"
        remedy = f"backend={' or '.join(map(repr, others))}"
        if row.format:
            precision = row.files[0].partition(".")[0]
            remedy += f", or compress export BUNDLE --to {precision}.{row.format}"
        raise BackendError(f"{name} does not read {model}", expected=expected, remedy=remedy)
    loader: Callable[..., Runner] = import_module(row.module).load
    known = list(signature(loader).parameters)[1:]
    if unknown := options.keys() - known:
        got = ", ".join(sorted(unknown))
        raise BackendError(f"unknown option of {name}", got=got, expected=", ".join(known))
    return loader(model, **options)
