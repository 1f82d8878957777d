"""A Core ML package, run operator by operator in torch; Core ML itself runs on Apple's systems.

This shows that a file holds the network, its weights and its scales, not how fast or how exactly
an iPhone computes it. Values that the program keeps in half precision are rounded to it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from compress.engine.errors import ExportError
from export.engines.coreml import IMAGE, quiet
from runtime import PreprocessSpec

PROGRAM = "com.apple.CoreML/model.mlmodel"
Given = Mapping[str, Any]  # an operator's inputs by name: tensors, numbers, texts, lists


class ProgramRunner:
    """The program of a package as an engine (``runtime.backends.Runner``)."""

    provider = "program, operator by operator in torch"
    threads = 1

    def __init__(self, file: Path, spec: PreprocessSpec) -> None:
        import coremltools
        from coremltools.converters.mil.frontend.milproto.load import load

        self.versions = {"coremltools": coremltools.__version__}
        self._spec = spec
        with TemporaryDirectory() as scratch, quiet():
            with zipfile.ZipFile(file) as archive:
                archive.extractall(scratch)
            (program,) = Path(scratch).glob(f"*/Data/{PROGRAM}")
            read = coremltools.utils.load_spec(str(program))
            weights = str(program.parent / "weights")
            self._main = load(read, read.specificationVersion, weights).functions["main"]
        self.outputs = tuple(value.name for value in self._main.outputs)
        self.input_size = spec.size
        if unknown := sorted({op.op_type for op in self._operations} - OPERATORS.keys()):
            raise ExportError(f"{file.name} cannot be evaluated", got=", ".join(unknown))

    @property
    def _operations(self) -> list[Any]:
        return [op for op in self._main.operations if op.op_type not in ("const", "classify")]

    def run(self, images: NDArray[np.float32], output: str = "logits") -> NDArray[np.float32]:
        """``output`` (B, K) of normalized images (B, 3, S, S)."""
        return self.run_all(images, (output,))[output]

    def run_all(
        self, images: NDArray[np.float32], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Several outputs of one pass, each (B, K) float32."""
        spec = self._spec
        mean, std = (np.array(each, np.float32)[:, None, None] for each in (spec.mean, spec.std))
        pixels = np.rint((images * std + mean) * 255).astype(np.float32)
        rows = [self._one(torch.from_numpy(pixels[at : at + 1])) for at in range(len(pixels))]
        return {name: np.concatenate([row[name] for row in rows]) for name in outputs}

    @torch.no_grad()
    def _one(self, pixels: Tensor) -> dict[str, NDArray[np.float32]]:
        values: dict[str, Any] = {IMAGE: pixels}
        for op in self._operations:
            given = {name: _value(var, values) for name, var in op.inputs.items()}
            (result,) = op.outputs
            found = OPERATORS[op.op_type](given)
            values[result.name] = found.half().float() if _is_half(result) else found
        known = (name for name in self.outputs if name in values)
        return {name: values[name].numpy() for name in known}


def load(file: Path, spec: PreprocessSpec) -> ProgramRunner:
    """The program of a package that ``coreml.write`` made.

    Raises:
        ExportError: an operator that is not known here.
    """
    return ProgramRunner(file, spec)


def _value(var: Any, values: Mapping[str, Any]) -> Any:
    """A value that was computed, or a constant of the program: arrays as tensors."""
    if isinstance(var, (list, tuple)):
        return [_value(each, values) for each in var]
    if var is None:
        return None
    if var.name in values:
        return values[var.name]
    constant = var.val
    if not isinstance(constant, np.ndarray):
        return constant.item() if isinstance(constant, np.generic) else constant
    halves = constant.dtype == np.float16
    return torch.from_numpy(constant.astype(np.float32) if halves else constant.copy())


def _is_half(var: Any) -> bool:
    from coremltools.converters.mil.mil import types

    return bool(var.dtype == types.fp16)


def _numbers(given: Given, name: str) -> list[int]:
    return [int(each) for each in given[name]]


def _padded(given: Given, x: Tensor, kernel: Sequence[int], value: float) -> Tensor:
    """The input with the padding of a convolution or a pool around it."""
    kind, strides = given.get("pad_type", "valid"), _numbers(given, "strides")
    dilations = _numbers(given, "dilations") if given.get("dilations") is not None else [1, 1]
    if kind == "valid":
        return x
    if kind == "custom":
        top, bottom, left, right = _numbers(given, "pad")
        return functional.pad(x, (left, right, top, bottom), value=value)
    ends = []
    for axis in (1, 0):  # the last dimension first
        size, step = x.shape[2 + axis], strides[axis]
        reach = dilations[axis] * (kernel[axis] - 1) + 1
        need = max(0, (-(-size // step) - 1) * step + reach - size)
        less, more = need // 2, need - need // 2
        ends += [less, more] if kind == "same" else [more, less]
    return functional.pad(x, ends, value=value)


def _conv(given: Given) -> Tensor:
    weight = given["weight"]
    x = _padded(given, given["x"], weight.shape[2:], 0.0)
    strides, dilations = _numbers(given, "strides"), _numbers(given, "dilations")
    bias = given.get("bias")
    return functional.conv2d(x, weight, bias, strides, 0, dilations, int(given["groups"]))


def _pad(given: Given) -> Tensor:
    if given["mode"] != "constant":
        raise ExportError("a padding that is not constant", got=given["mode"])
    pairs = _numbers(given, "pad")  # of all dimensions, or the last ones
    ends = [end for at in range(len(pairs) - 2, -1, -2) for end in pairs[at : at + 2]]
    return functional.pad(given["x"], ends, value=float(given["constant_val"]))


def _pool(kind: Callable[..., Tensor], fill: float) -> Callable[[Given], Tensor]:
    def run(given: Given) -> Tensor:
        if given.get("ceil_mode") or given.get("exclude_padding_from_average"):
            raise ExportError("a pool with ceil_mode or an average without its padding")
        window = _numbers(given, "kernel_sizes")
        return kind(_padded(given, given["x"], window, fill), window, _numbers(given, "strides"))

    return run


def _batch_norm(given: Given) -> Tensor:
    mean, variance, gain, offset = (
        given[name].reshape(1, -1, 1, 1) for name in ("mean", "variance", "gamma", "beta")
    )
    scaled: Tensor = (given["x"] - mean) / torch.sqrt(variance + given["epsilon"])
    return scaled * gain + offset


def _channels(value: Any, axis: Any, like: Tensor) -> Any:
    """A scale or zero point beside the tensor that it belongs to."""
    if value is None or not isinstance(value, Tensor) or value.ndim == 0:
        return 0 if value is None else value
    shape = [1] * like.ndim
    shape[int(axis)] = -1
    return value.reshape(shape)


def _quantize(given: Given) -> Tensor:
    x, axis = given["input"], given.get("axis")
    low, high = (0, 255) if given["output_dtype"] == "uint8" else (-128, 127)
    steps = torch.round(x / _channels(given["scale"], axis, x))
    return torch.clamp(steps + _channels(given.get("zero_point"), axis, x), low, high)


def _dequantize(given: Given) -> Tensor:
    x, axis = given.get("input", given.get("quantized_data")), given.get("axis")
    point = _channels(given.get("zero_point"), axis, x)
    return (x.float() - point) * _channels(given["scale"], axis, x)


def _reduced(kind: Callable[..., Tensor]) -> Callable[[Given], Tensor]:
    return lambda given: kind(given["x"], _numbers(given, "axes"), keepdim=bool(given["keep_dims"]))


#: of the programs that our students become; by the names of the MIL language
OPERATORS: Mapping[str, Callable[[Given], Tensor]] = {
    "abs": lambda given: torch.abs(given["x"]),
    "add": lambda given: given["x"] + given["y"],
    "avg_pool": _pool(functional.avg_pool2d, 0.0),
    "batch_norm": _batch_norm,
    "cast": lambda given: given["x"].float(),
    "clip": lambda given: torch.clamp(given["x"], given["alpha"], given["beta"]),
    "constexpr_affine_dequantize": _dequantize,
    "conv": _conv,
    "dequantize": _dequantize,
    "linear": lambda given: functional.linear(given["x"], given["weight"], given.get("bias")),
    "max_pool": _pool(functional.max_pool2d, -torch.inf),
    "mul": lambda given: given["x"] * given["y"],
    "pad": _pad,
    "quantize": _quantize,
    "real_div": lambda given: given["x"] / given["y"],
    "reduce_mean": _reduced(torch.mean),
    "reduce_sum": _reduced(torch.sum),
    "relu": lambda given: torch.relu(given["x"]),
    "relu6": lambda given: functional.relu6(given["x"]),
    "reshape": lambda given: given["x"].reshape(_numbers(given, "shape")),
    "sigmoid": lambda given: torch.sigmoid(given["x"]),
    "sigmoid_hard": lambda given: (given["alpha"] * given["x"] + given["beta"]).clamp(0, 1),
    "silu": lambda given: functional.silu(given["x"]),
    "softmax": lambda given: torch.softmax(given["x"], int(given["axis"])),
    "sqrt": lambda given: torch.sqrt(given["x"]),
    "squeeze": lambda given: given["x"].squeeze(_numbers(given, "axes")),
    "sub": lambda given: given["x"] - given["y"],
    "thresholded_relu": lambda given: given["x"] * (given["x"] >= given["alpha"]),
}
