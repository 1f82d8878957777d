"""An ONNX graph of ours as a torch module, for converters that start from torch.

Quantizers become torch's ``quantized_decomposed`` operators, with the scales of the file: an engine
that fuses them runs int8 as it was trained. uint8 activations become int8 ones whose zero point is
128 less: the same numbers. Needs torch and onnx alone, so that it also runs in the environment of a
converter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
import torch.ao.quantization.fx._decomposed  # noqa: F401  # registers quantized_decomposed
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

Value = Any  # a Tensor, or None for an input that is left out
Attributes = dict[str, Any]
QUANTIZE = torch.ops.quantized_decomposed.quantize_per_tensor
DEQUANTIZE = torch.ops.quantized_decomposed.dequantize_per_tensor
DEQUANTIZE_CHANNELS = torch.ops.quantized_decomposed.dequantize_per_channel
QUANTIZE_CHANNELS = torch.ops.quantized_decomposed.quantize_per_channel
LOWEST, HIGHEST = -128, 127


class UnsupportedError(ValueError):
    """An operator, or a form of one, that no network of ours has."""


class TorchGraph(nn.Module):
    """``(B, 3, S, S) float32`` -> the graph's outputs, a tuple in their order.

    Args:
        float_weights: keep weights in float32 and quantize them in the graph, for a converter that
            looks for that; the integers are the same.
    """

    def __init__(self, model: ModelProto, float_weights: bool = False) -> None:
        super().__init__()
        self._names: dict[str, str] = {}  # of weights -> of their buffers
        self._numbers: dict[str, NDArray[Any]] = {}  # scales, zero points, axes, limits
        self._nodes = list(model.graph.node)
        self.outputs = [value.name for value in model.graph.output]
        self.input = model.graph.input[0].name
        unknown = sorted({node.op_type for node in self._nodes} - OPERATORS.keys())
        if unknown:
            raise UnsupportedError(f"operators {', '.join(unknown)}")
        for tensor in model.graph.initializer:
            self._keep(tensor.name, numpy_helper.to_array(tensor))
        if float_weights:
            self._dequantize_weights()

    def _dequantize_weights(self) -> None:
        """Stores weights as the float32 that they stand for; their quantizers stay."""
        for node in self._nodes:
            stored = self._names.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
            if stored is not None and self.get_buffer(stored).dtype == torch.int8:
                given = [self._constant(name) for name in node.input]
                setattr(self, stored, _dequantize(given, _attributes(node)))

    def _constant(self, name: str) -> Value:
        return getattr(self, self._names[name]) if name in self._names else self._numbers[name]

    def _keep(self, name: str, value: NDArray[Any]) -> None:
        """A weight becomes a buffer; what says how to compute stays a number, so that it is traced
        as one.
        """
        if value.size == 1 or value.dtype == np.int64:
            self._numbers[name] = value
            return
        self._names[name] = f"weight_{len(self._names)}"
        kept = value.astype(np.int64) if self._is_zero_point(name) else value
        self.register_buffer(self._names[name], torch.tensor(kept))

    def _is_zero_point(self, name: str) -> bool:
        return any(
            node.op_type == "DequantizeLinear" and name in list(node.input[2:])
            for node in self._nodes
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The outputs of a batch."""
        values: dict[str, Value] = {self.input: images, "": None}
        values |= {name: getattr(self, buffer) for name, buffer in self._names.items()}
        values |= self._numbers
        for node in self._nodes:
            given = [values[name] for name in node.input]
            values[node.output[0]] = OPERATORS[node.op_type](given, _attributes(node))
        return tuple(values[name] for name in self.outputs)


def _attributes(node: NodeProto) -> Attributes:
    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}


def _pairs(x: Tensor, attributes: Attributes, value: float) -> tuple[Tensor, tuple[int, int]]:
    """A padded input, and the padding that is left to the operator."""
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) == (bottom, right):
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom), value=value), (0, 0)


def _conv(given: Sequence[Value], attributes: Attributes) -> Tensor:
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise UnsupportedError(f"auto_pad {attributes['auto_pad']!r}")
    x, padding = _pairs(given[0], attributes, 0.0)
    bias = given[2] if len(given) > 2 else None
    where = (attributes.get("strides", (1, 1)), padding, attributes.get("dilations", (1, 1)))
    return functional.conv2d(x, given[1], bias, *where, attributes.get("group", 1))


def _gemm(given: Sequence[Value], attributes: Attributes) -> Tensor:
    plain = (attributes.get("alpha", 1.0), attributes.get("beta", 1.0), attributes.get("transA", 0))
    if plain != (1.0, 1.0, 0):
        raise UnsupportedError(f"Gemm with alpha, beta, transA of {plain}")
    weight = given[1] if attributes.get("transB", 0) else given[1].t()
    return functional.linear(given[0], weight, given[2] if len(given) > 2 else None)


def _pool(kind: Callable[..., Tensor], fill: float) -> Callable[..., Tensor]:
    def run(given: Sequence[Value], attributes: Attributes) -> Tensor:
        if attributes.get("ceil_mode", 0) or max(attributes.get("dilations", (1,))) > 1:
            raise UnsupportedError("a pool with ceil_mode or dilations")
        x, padding = _pairs(given[0], attributes, fill)
        window = attributes["kernel_shape"]
        return kind(x, window, attributes.get("strides", (1, 1)), padding)

    return run


def _axes(given: Sequence[Value], attributes: Attributes) -> list[int]:
    axes = given[1].tolist() if len(given) > 1 else attributes.get("axes")
    if axes is None:
        raise UnsupportedError("a reduction of all axes")
    return [int(axis) for axis in axes]


def _mean(given: Sequence[Value], attributes: Attributes) -> Tensor:
    keep = bool(attributes.get("keepdims", 1))
    return torch.mean(given[0], _axes(given, attributes), keepdim=keep)


def _norm(given: Sequence[Value], attributes: Attributes) -> Tensor:
    keep = bool(attributes.get("keepdims", 1))
    square = torch.sum(given[0] * given[0], _axes(given, attributes), keepdim=keep)
    return torch.sqrt(square)


def _unit(given: Sequence[Value], attributes: Attributes) -> Tensor:
    axis = [attributes.get("axis", -1)]
    return given[0] / torch.sqrt(torch.sum(given[0] * given[0], axis, keepdim=True))


def _clip(given: Sequence[Value], attributes: Attributes) -> Tensor:
    low, high = (
        attributes.get(name) if len(given) <= at or given[at] is None else float(given[at])
        for at, name in ((1, "min"), (2, "max"))
    )
    if (low, high) == (0.0, 6.0):
        return functional.relu6(given[0])
    return torch.clamp(given[0], low, high)


def _reshape(given: Sequence[Value], attributes: Attributes) -> Tensor:
    sizes = [int(size) for size in given[1].tolist()]
    if len(sizes) == 2 and sizes[1] != 0 and sizes[0] in (-1, 0, 1):
        return torch.flatten(given[0], 1)
    raise UnsupportedError(f"Reshape to {sizes}")


def _flatten(given: Sequence[Value], attributes: Attributes) -> Tensor:
    if attributes.get("axis", 1) != 1:
        raise UnsupportedError("Flatten of another axis")
    return torch.flatten(given[0], 1)


def _quantize(given: Sequence[Value], attributes: Attributes) -> Tensor:
    scale, point = float(given[1].item()), _zero_point(given)
    return QUANTIZE(given[0], scale, point, LOWEST, HIGHEST, torch.int8)  # type: ignore[no-any-return]


def _dequantize(given: Sequence[Value], attributes: Attributes) -> Tensor:
    x, scale = given[0], given[1]
    if isinstance(x, np.ndarray):  # one number
        x = torch.from_numpy(x)
    if x.dtype == torch.int32:  # a bias, in steps of its product's scale
        return x * (scale if isinstance(scale, Tensor) else float(scale.item()))
    if not isinstance(scale, Tensor):
        step, point = float(scale.item()), _zero_point(given)
        return DEQUANTIZE(x, step, point, LOWEST, HIGHEST, torch.int8)  # type: ignore[no-any-return]
    axis = attributes.get("axis", 1) % x.dim()
    if x.dtype == torch.float32:
        x = QUANTIZE_CHANNELS(x, scale, given[2], axis, LOWEST, HIGHEST, torch.int8)
    return DEQUANTIZE_CHANNELS(x, scale, given[2], axis, LOWEST, HIGHEST, torch.int8)  # type: ignore[no-any-return]


def _zero_point(given: Sequence[Value]) -> int:
    if len(given) < 3 or given[2] is None:
        raise UnsupportedError("a quantizer without a zero point")
    return int(given[2].item()) - (128 if given[2].dtype == np.uint8 else 0)


def _operand(value: Value) -> Any:
    return float(value.item()) if isinstance(value, np.ndarray) else value


def _binary(function: Callable[[Any, Any], Tensor]) -> Callable[..., Tensor]:
    return lambda given, attributes: function(_operand(given[0]), _operand(given[1]))


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda given, attributes: function(given[0])


OPERATORS: dict[str, Callable[[Sequence[Value], Attributes], Tensor]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MaxPool": _pool(functional.max_pool2d, float("-inf")),
    "GlobalAveragePool": _unary(lambda x: torch.mean(x, [2, 3], keepdim=True)),
    "ReduceMean": _mean,
    "ReduceL2": _norm,
    "LpNormalization": _unit,
    "Abs": _unary(torch.abs),
    "Sqrt": _unary(torch.sqrt),
    "Relu": _unary(functional.relu),
    "Sigmoid": _unary(torch.sigmoid),
    "HardSigmoid": _unary(functional.hardsigmoid),
    "HardSwish": _unary(functional.hardswish),
    "Clip": _clip,
    "Add": _binary(torch.add),
    "Sub": _binary(torch.sub),
    "Mul": _binary(torch.mul),
    "Div": _binary(torch.div),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Identity": _unary(lambda x: x),
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}
