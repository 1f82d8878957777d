"""From the int8 file that TensorRT wants to the uint8 file that onnxruntime's CPU kernels want: new
zero points.

TensorRT takes int8 activations with zero point 0. onnxruntime's fast x86 kernels take uint8
activations with int8 weights (resnet18, one thread: 7.8 ms against 22 ms for the int8 file, which
is no faster than fp32). The weights, the graph and what was trained stay the same:

* an ordinary activation ``q = round(x / s) in -128..127`` becomes ``q + 128 in 0..255``: the same
values, exactly; * a tensor that provably is >= 0 uses only 0..127 of int8. It becomes uint8 with
zero point 0 and scale
  ``s * 127 / 255``: it clips at the same value (127 s) and is twice as fine, and the ReLU before it
      becomes part of the
  clipping, which lets onnxruntime fuse it away. (With the same scale it would clip at 255 s:
  another function.)

One change is for onnxruntime's pattern matching only: a linear layer's float bias moves out of its
Gemm into an Add, as a Gemm with a float bias and a float output is left unfused (dequantizing its
weights on every call).
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from compress.engine.errors import ExportError

NON_NEGATIVE = frozenset(
    {
        "Relu",
        "Sigmoid",
        "HardSigmoid",
        "Softmax",
        "Abs",
        "Exp",
        "Sqrt",
        "ReduceL2",
        "ReduceSumSquare",
    }
)
"""Operators whose output is >= 0 whatever comes in."""

KEEPS_SIGN = frozenset(
    {
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "ReduceMean",
        "ReduceMax",
        "ReduceSum",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Gather",
        "Identity",
        "QuantizeLinear",
        "DequantizeLinear",
    }
)
"""Operators whose output is >= 0 when their first input is."""

KEEPS_SIGN_OF_ALL = frozenset({"Add", "Mul", "Concat", "Max"})
"""Operators whose output is >= 0 when all inputs are."""


class GraphView:
    """Who makes and who uses each tensor of a model, and the values of constants."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producer = {name: node for node in model.graph.node for name in node.output}
        self.consumers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The value of an initializer or Constant node; None for anything computed."""
        if name in self.initializers:
            return numpy_helper.to_array(self.initializers[name])
        node = self.producer.get(name)
        if node is not None and node.op_type == "Constant":
            tensors = [attribute.t for attribute in node.attribute if attribute.name == "value"]
            return numpy_helper.to_array(tensors[0]) if tensors else None
        return None

    def non_negative(self, name: str) -> bool:
        """True when the tensor can be proved to hold no value below zero."""
        value = self.constant(name)
        if value is not None:
            return bool(np.all(value.astype(np.float64) >= 0))
        node = self.producer.get(name)
        if node is None:
            return False
        if node.op_type in NON_NEGATIVE:
            return True
        if node.op_type == "Clip":
            low = self.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else None
            return low is not None and float(low.reshape(-1)[0]) >= 0
        if node.op_type in KEEPS_SIGN:
            return self.non_negative(node.input[0])
        if node.op_type in KEEPS_SIGN_OF_ALL:
            return all(self.non_negative(source) for source in node.input)
        return False

    def quantizes_activation(self, node: NodeProto) -> bool:
        """True for a QuantizeLinear of a computed tensor (weights are stored quantized)."""
        return node.op_type == "QuantizeLinear" and self.constant(node.input[0]) is None


def to_uint8(model: ModelProto) -> ModelProto:
    """A copy of an int8 zero-point-0 QDQ model with uint8 activations; weights keep their int8.

    Raises:
        ExportError: when an activation is not symmetric int8, so that the rewrite would not be
            exact.
    """
    twin = ModelProto()
    twin.CopyFrom(model)
    view = GraphView(twin)
    new: dict[str, onnx.TensorProto] = {}

    def constant(name: str, value: NDArray[np.generic]) -> str:
        new.setdefault(name, numpy_helper.from_array(value, name))
        return name

    for node in [node for node in twin.graph.node if view.quantizes_activation(node)]:
        zero = view.constant(node.input[2]) if len(node.input) > 2 else None
        scale = view.constant(node.input[1])
        if (
            zero is None
            or zero.dtype != np.int8
            or zero.size != 1
            or zero.any()
            or scale is None
            or scale.size != 1
        ):
            raise ExportError(
                f"activation {node.input[0]} cannot be rewritten to uint8",
                got="no zero point" if zero is None else f"{zero.dtype} zero point {zero.tolist()}",
                expected="per-tensor int8 with zero point 0",
            )
        if view.non_negative(node.input[0]):
            point = constant("zero_point_0", np.array(0, np.uint8))
            fine = np.float32(float(scale.reshape(-1)[0]) * 127 / 255)
            step = constant(f"{node.output[0]}_scale", np.array(fine, np.float32))
        else:
            point, step = constant("zero_point_128", np.array(128, np.uint8)), node.input[1]
        for user in (node, *view.consumers.get(node.output[0], [])):
            if user.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                raise ExportError(
                    f"{user.op_type} {user.name} reads int8 values directly",
                    expected="a DequantizeLinear after every QuantizeLinear",
                )
            user.input[1], user.input[2] = step, point
    twin.graph.initializer.extend(new.values())
    _split_biases(twin)
    _drop_unused(twin)
    return twin


def _split_biases(model: ModelProto) -> None:
    """Turns ``Gemm(x, w, bias)`` on dequantized inputs into ``Add(Gemm(x, w), bias)``, in place."""
    view = GraphView(model)
    for index in reversed(range(len(model.graph.node))):
        node = model.graph.node[index]
        makers = [view.producer.get(name) for name in node.input[:2]]
        quantized = all(
            maker is not None and maker.op_type == "DequantizeLinear" for maker in makers
        )
        if node.op_type != "Gemm" or len(node.input) < 3 or not quantized:
            continue
        if any(a.name == "beta" and a.f != 1.0 for a in node.attribute):
            continue
        bias, output = node.input.pop(), node.output[0]
        node.output[0] = f"{output}_without_bias"
        model.graph.node.insert(
            index + 1,
            onnx.helper.make_node("Add", [node.output[0], bias], [output], f"{node.name}_bias"),
        )


def _drop_unused(model: ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input} | {
        value.name for value in model.graph.output
    }
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)
    for node in [
        n for n in model.graph.node if n.op_type == "Constant" and n.output[0] not in used
    ]:
        model.graph.node.remove(node)
