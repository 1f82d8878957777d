"""The uint8 file for onnxruntime's CPU kernels from the int8 file for TensorRT: new zero points.

TensorRT takes int8 activations with zero point 0. onnxruntime's fast x86 kernels take uint8
activations with int8 weights (resnet18, one thread: 7.8 ms against 22 ms for the int8 file, which
is no faster than fp32). Weights, graph and trained ranges stay the same:

* an ordinary activation ``q = round(x / s) in -128..127`` becomes ``q + 128 in 0..255``: the same
  values, exactly;
* a tensor that provably is >= 0 uses only 0..127 of int8. It becomes uint8 with zero point 0 and
  scale ``s * 127 / 255``: it clips at the same value (127 s) and is twice as fine, and the ReLU
  before it becomes part of the clipping, so onnxruntime fuses it away. (With scale s it would clip
  at 255 s: another function.)

One change serves onnxruntime's pattern matching only: the float bias of a linear layer moves from
its Gemm into an Add. A Gemm with a float bias and a float output is left unfused, and dequantizes
its weights on every call.
"""

from __future__ import annotations

import copy

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from compress.engine.errors import ExportError
from export.onnx.graph import QUANTIZERS, GraphView, attribute, remove_unused


def to_uint8(model: ModelProto) -> ModelProto:
    """A copy of an int8 zero-point-0 QDQ model with uint8 activations; weights stay int8.

    Raises: ExportError: an activation is not symmetric int8, so the rewrite would not be exact.
    """
    twin = copy.deepcopy(model)
    view = GraphView(twin)
    new: dict[str, onnx.TensorProto] = {}

    def constant(name: str, value: NDArray[np.generic]) -> str:
        new.setdefault(name, numpy_helper.from_array(value, name))
        return name

    for node in [node for node in twin.graph.node if view.quantizes_activation(node)]:
        zero = view.optional_constant(node, 2)
        scale = view.constant(node.input[1])
        symmetric = zero is not None and zero.dtype == np.int8 and zero.size == 1 and not zero.any()
        if not symmetric or scale is None or scale.size != 1:
            what = f"activation {node.input[0]} cannot be rewritten to uint8"
            got = "no zero point" if zero is None else f"{zero.dtype} zero point {zero.tolist()}"
            raise ExportError(what, got=got, expected="per-tensor int8 with zero point 0")
        if view.non_negative(node.input[0]):
            point = constant("zero_point_0", np.array(0, np.uint8))
            fine = np.float32(float(scale.reshape(-1)[0]) * 127 / 255)
            step = constant(f"{node.output[0]}_scale", np.array(fine, np.float32))
        else:
            point = constant("zero_point_128", np.array(128, np.uint8))
            step = node.input[1]
        for user in (node, *view.consumers.get(node.output[0], [])):
            if user.op_type not in QUANTIZERS:
                what = f"{user.op_type} {user.name} reads int8 values directly"
                raise ExportError(what, expected="a DequantizeLinear after every QuantizeLinear")
            user.input[1] = step
            user.input[2] = point
    twin.graph.initializer.extend(new.values())
    _split_biases(twin)
    remove_unused(twin)
    return twin


def _split_biases(model: ModelProto) -> None:
    """Turns ``Gemm(x, w, bias)`` on dequantized inputs into ``Add(Gemm(x, w), bias)``, in place."""
    view = GraphView(model)
    for index in reversed(range(len(model.graph.node))):
        node = model.graph.node[index]
        if node.op_type != "Gemm" or len(node.input) < 3 or attribute(node, "beta", 1.0) != 1.0:
            continue
        if not all(view.produced_by(name, "DequantizeLinear") for name in node.input[:2]):
            continue
        bias = node.input.pop()
        output = node.output[0]
        node.output[0] = f"{output}_without_bias"
        add = onnx.helper.make_node("Add", [node.output[0], bias], [output], f"{node.name}_bias")
        model.graph.node.insert(index + 1, add)
