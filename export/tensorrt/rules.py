"""What TensorRT's ONNX parser asks of an explicitly quantized model, checked without TensorRT.

TensorRT is not installable on every machine that builds bundles, and its parser either refuses a
model on the device or, worse, silently runs layers in float. Each rule here names what it found; an
empty list means that the file is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from export.onnx.graph import GraphView
from export.tensorrt import operators as tensorrt_operators
from export.tensorrt.operators import name_of as _name

MIN_OPSET, MAX_OPSET = 17, 20
"""TensorRT 10.0's parser reads opsets 9..20, 10.15's to 24, 11.x's to 25; 17 is the project's
floor. A target that is asked for in opset 21 or 22 is therefore for newer TensorRT than JetPack 6's
10.3.
"""
MAX_IR = 10

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
WEIGHTED = CONVOLUTIONS | {"Gemm"}
_INT8 = np.dtype(np.int8)


def tensorrt_ready(model: ModelProto, left_float: Collection[str] = ()) -> list[str]:
    """Every way in which ``model`` breaks a rule; empty for a model that TensorRT 10 and 11 take in
    int8.

    Args:
        left_float: names of additions that are in float on purpose (``quantize.float_blocks``).
    """
    view = GraphView(model)
    return [violation for rule in RULES for violation in rule(view)] + list(
        _additions(view, left_float)
    )


def _pairs(view: GraphView) -> list[NodeProto]:
    return [
        node
        for node in view.model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    ]


def _versions(view: GraphView) -> Iterator[str]:
    model = view.model
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if not MIN_OPSET <= opsets.get("", 0) <= MAX_OPSET:
        yield f"opset {opsets.get('', 0)} is outside {MIN_OPSET}..{MAX_OPSET}"
    if model.ir_version > MAX_IR:
        yield f"IR version {model.ir_version} is above {MAX_IR}"
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            yield f"{_name(node)} is of domain {node.domain!r}, which the parser does not know"


def _activations(view: GraphView) -> Iterator[str]:
    for node in _pairs(view):
        if view.constant(node.input[0]) is not None:
            continue  # a stored weight
        zero = view.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if zero is None or zero.dtype != _INT8:
            yield f"{_name(node)} is {'uint8 by default' if zero is None else zero.dtype}, not int8"
        elif zero.any():
            yield f"{_name(node)} has zero point {zero.reshape(-1)[0]}, not 0"
        scale = view.constant(node.input[1])
        if scale is None or scale.size != 1:
            yield f"{_name(node)} has no constant per-tensor scale"


def _weights(view: GraphView) -> Iterator[str]:
    for node in view.model.graph.node:
        if node.op_type not in WEIGHTED:
            continue
        source, weight = (view.producer.get(name) for name in node.input[:2])
        quantized = weight is not None and weight.op_type == "DequantizeLinear"
        if quantized != (source is not None and source.op_type == "DequantizeLinear"):
            halves = (
                "quantized weights and a float input"
                if quantized
                else "a quantized input and float weights"
            )
            yield f"{_name(node)} has {halves}"
        if not quantized or weight is None:
            continue
        values, scale = view.constant(weight.input[0]), view.constant(weight.input[1])
        zero = (
            view.constant(weight.input[2])
            if len(weight.input) > 2 and weight.input[2]
            else np.zeros(1, np.int8)
        )
        if values is None or values.dtype != _INT8:
            yield (
                f"{_name(node)} has weights of type "
                f"{None if values is None else values.dtype}, not stored int8"
            )
            continue
        if zero is None or zero.any() or zero.dtype != _INT8:
            yield f"{_name(node)} has weights with a zero point other than int8 0"
        axis = next((a.i for a in weight.attribute if a.name == "axis"), 1)
        wanted = {"ConvTranspose": 1}.get(node.op_type, _output_axis(node))
        if scale is None or scale.ndim != 1 or scale.size != values.shape[wanted] or axis != wanted:
            yield f"{_name(node)} has weights that are not quantized per output channel"


def _output_axis(node: NodeProto) -> int:
    """The axis of the weight that counts outputs: 0 for Conv and for a transposed Gemm."""
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 1 if node.op_type == "Gemm" and not transposed else 0


def _biases(view: GraphView) -> Iterator[str]:
    for node in view.model.graph.node:
        if node.op_type in WEIGHTED and len(node.input) > 2 and node.input[2]:
            bias = view.initializers.get(node.input[2])
            if bias is None:
                yield (
                    f"{_name(node)} has a bias that is computed (or dequantized), not a "
                    "stored float"
                )
            elif bias.data_type != TensorProto.FLOAT:
                yield (
                    f"{_name(node)} has a bias of type "
                    f"{TensorProto.DataType.Name(bias.data_type)}, not FLOAT"
                )


def _additions(view: GraphView, left_float: Collection[str]) -> Iterator[str]:
    if not _pairs(view):
        return  # a float model
    for node in view.model.graph.node:
        if (
            node.op_type != "Add"
            or node.name in left_float
            or any(view.constant(name) is not None for name in node.input)
        ):
            continue
        makers = [view.producer.get(name) for name in node.input]
        float_sides = [
            maker for maker in makers if maker is None or maker.op_type != "DequantizeLinear"
        ]
        if float_sides:
            yield (
                f"{_name(node)} has {len(float_sides)} input(s) that are not dequantized: "
                "the residual runs in float"
            )


def _shapes(view: GraphView) -> Iterator[str]:
    for value in view.model.graph.input:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if axis and not size.HasField("dim_value"):
                yield f"input {value.name} is dynamic in axis {axis}: only the batch may be"


RULES: tuple[Callable[[GraphView], Iterator[str]], ...] = (
    _versions,
    _activations,
    _weights,
    _biases,
    _shapes,
    *tensorrt_operators.RULES,
)
