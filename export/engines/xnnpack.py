"""The form of a quantized graph that XNNPACK fuses into integer kernels; the same numbers.

XNNPACK multiplies integers where a product has a dequantizer of its own before it, int8 weights, a
bias in float32, and a quantizer of its own behind it. All other weights become the float32 that
they stand for: those of the last layer, whose outputs are not rounded.
"""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.onnx.graph import GraphView, attribute, label, op_types, remove_unused

PRODUCTS = op_types("Conv Gemm")
RESHAPES = op_types("Reshape Flatten")
RELU6 = (0.0, 6.0)


def fusible(model: ModelProto) -> ModelProto:
    """A copy that XNNPACK's partitioner takes; a graph without quantizers stays as it is."""
    twin = copy.deepcopy(model)
    _quantize_before_reshapes(twin)
    _dequantize_constants(twin)
    _dequantize_for_each_use(twin)
    remove_unused(twin)
    return twin


def _quantize_before_reshapes(model: ModelProto) -> None:
    """Repeats a quantizer that stands behind a reshape in front of it, next to the product."""
    view = GraphView(model)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        quantizer = _only_consumer(view, node) if node.op_type in RESHAPES else None
        if quantizer is not None and quantizer.op_type == "QuantizeLinear":
            before, behind = f"{node.input[0]}_steps", f"{node.input[0]}_rounded"
            rest = list(quantizer.input[1:])
            nodes.append(helper.make_node("QuantizeLinear", [node.input[0], *rest], [before]))
            nodes.append(helper.make_node("DequantizeLinear", [before, *rest], [behind]))
            node.input[0] = behind
        nodes.append(node)
    _replace_nodes(model, nodes)


def _dequantize_constants(model: ModelProto) -> None:
    """Biases, and weights of products that stay in float32, become float32."""
    view = GraphView(model)
    integer = {node.input[1] for node in model.graph.node if _is_integer(view, node)}
    for node in list(model.graph.node):
        stored = view.constant(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if stored is not None and node.output[0] not in integer:
            value = _float_value(view, node, stored)
            model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
            model.graph.node.remove(node)


def _dequantize_for_each_use(model: ModelProto) -> None:
    """A dequantizer for each consumer: two parts that share one would wait for each other."""
    copies: dict[str, int] = {}
    makers = {node.output[0]: node for node in model.graph.node}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            maker = makers.get(name)
            if maker is not None and maker.op_type == "DequantizeLinear":
                copies[name] = copies.get(name, 0) + 1
                own = f"{name}_{copies[name]}"
                twin = copy.deepcopy(maker)
                twin.name = twin.output[0] = node.input[place] = own
                nodes.append(twin)
        nodes.append(node)
    _replace_nodes(model, nodes)


def _is_integer(view: GraphView, node: NodeProto) -> bool:
    """Whether XNNPACK runs a node on integers."""
    rows_are_outputs = node.op_type == "Conv" or attribute(node, "transB", 0) == 1
    rounded = node.op_type in PRODUCTS and view.produced_by(node.input[0], "DequantizeLinear")
    if not rounded or not rows_are_outputs:
        return False
    weights = view.produced_by(node.input[1], "DequantizeLinear")
    tensor = None if weights is None else view.initializers.get(weights.input[0])
    if tensor is None or tensor.data_type != TensorProto.INT8:
        return False
    behind = _only_consumer(view, node)
    if behind is not None and _is_fused(view, behind):
        behind = _only_consumer(view, behind)
    return behind is not None and behind.op_type == "QuantizeLinear"


def _is_fused(view: GraphView, node: NodeProto) -> bool:
    """Whether a node is an activation that XNNPACK computes with the product before it."""
    limits = (view.optional_constant(node, place) for place in (1, 2))
    return node.op_type == "Relu" or (
        node.op_type == "Clip" and tuple(x if x is None else float(x) for x in limits) == RELU6
    )


def _only_consumer(view: GraphView, node: NodeProto) -> NodeProto | None:
    consumers = view.consumers.get(node.output[0], [])
    is_output = any(value.name == node.output[0] for value in view.model.graph.output)
    return consumers[0] if len(consumers) == 1 and not is_output else None


def _float_value(
    view: GraphView, node: NodeProto, stored: NDArray[np.generic]
) -> NDArray[np.float32]:
    """The numbers that a constant stands for, in float32 as an engine computes them."""
    scale, point = (view.optional_constant(node, place) for place in (1, 2))
    if scale is None:
        raise ValueError(f"{label(node)} has a computed scale")
    steps = stored.astype(np.int64)
    shape = [1] * stored.ndim
    if scale.size > 1:
        shape[attribute(node, "axis", 1)] = -1
    if point is not None:
        steps -= point.astype(np.int64).reshape(shape)
    return steps.astype(np.float32) * scale.astype(np.float32).reshape(shape)


def _replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    kept = [copy.deepcopy(node) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
