"""Operators and types that TensorRT's ONNX parser refuses, whatever the precision.

Source: onnx-tensorrt, docs/operators.md of TensorRT 10.15 (opset 9 to 24) and NVIDIA's ONNX opset
guide of 11.x (to 25). Our exporters write nothing else that JetPack 6's older 10.3 lacks.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto, TensorProto
from onnx.external_data_helper import uses_external_data

from export.onnx.graph import GraphView, attribute, label, op_types

UNSUPPORTED = op_types(
    "AffineGrid Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CenterCropPad Col2Im "
    "Compress ConcatFromSequence ConvInteger DFT Det DynamicQuantizeLinear ImageDecoder "
    "MatMulInteger MaxRoiPool MaxUnpool MelWeightMatrix Multinomial NegativeLogLikelihoodLoss "
    "Optional OptionalGetElement OptionalHasElement QLinearConv QLinearMatMul RegexFullMatch "
    "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength "
    "SequenceMap SoftmaxCrossEntropyLoss SplitToSequence StringNormalizer TfIdfVectorizer Unique"
)
POOLS = op_types("AveragePool MaxPool LpPool")
INPUT_TYPES = {
    *(TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.UINT8),
    *(TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL),
}
RESIZE_MODES = frozenset({"nearest", "linear"})


def name_of(node: NodeProto) -> str:
    """Operator and name of a node, for messages."""
    return f"{node.op_type} {label(node)}"


def operators(view: GraphView) -> Iterator[str]:
    """Operators that the parser lacks."""
    for node in view.model.graph.node:
        if node.op_type in UNSUPPORTED:
            yield f"{name_of(node)}: the parser has no {node.op_type}"


def input_types(view: GraphView) -> Iterator[str]:
    """Inputs of a type that a network cannot take; uint8 may enter, but only to be cast at once."""
    for value in view.model.graph.input:
        kind = value.type.tensor_type.elem_type
        if kind not in INPUT_TYPES:
            yield f"input {value.name} is {TensorProto.DataType.Name(kind)}, which no network takes"
        if kind != TensorProto.UINT8:
            continue
        for node in view.consumers.get(value.name, []):
            if node.op_type not in ("Cast", "CastLike"):
                reader = name_of(node)
                yield f"input {value.name} is uint8 and goes into {reader}: only a Cast may take it"


def stored_types(view: GraphView) -> Iterator[str]:
    """Weights in another file, or in float64, which the parser narrows to float32."""
    for tensor in view.model.graph.initializer:
        if uses_external_data(tensor):
            yield f"{tensor.name} lies in another file"
        elif tensor.data_type == TensorProto.DOUBLE:
            yield f"{tensor.name} is float64, which becomes float32"


def resizes(view: GraphView) -> Iterator[str]:
    """Resizes that are antialiased, cubic, or keep the aspect ratio by themselves."""
    for node in view.model.graph.node:
        if node.op_type != "Resize":
            continue
        name = name_of(node)
        if attribute(node, "antialias"):
            yield f"{name} is antialiased, which the parser does not have (NVIDIA/TensorRT#3560)"
        mode = attribute(node, "mode", b"nearest").decode()
        if mode not in RESIZE_MODES:
            yield f"{name} is {mode}; the parser knows {' and '.join(sorted(RESIZE_MODES))}"
        policy = attribute(node, "keep_aspect_ratio_policy", b"stretch").decode()
        if policy != "stretch":
            yield f"{name} has the aspect ratio policy {policy}; the parser knows stretch"


def pools(view: GraphView) -> Iterator[str]:
    """Pools that are dilated or return indices."""
    for node in view.model.graph.node:
        if node.op_type not in POOLS:
            continue
        if set(attribute(node, "dilations", [1])) != {1}:
            yield f"{name_of(node)} is dilated"
        if len(node.output) > 1 and node.output[1]:
            yield f"{name_of(node)} returns indices"


def reductions(view: GraphView) -> Iterator[str]:
    """Reductions over axes that are computed."""
    for node in view.model.graph.node:
        axes = node.input[1] if node.op_type.startswith("Reduce") and len(node.input) > 1 else ""
        if axes and view.constant(axes) is None:
            yield f"{name_of(node)} reduces over axes that are computed"


RULES = (operators, input_types, stored_types, resizes, pools, reductions)
