"""The rules of TensorRT's ONNX parser for an explicitly quantized model, checked without TensorRT.

TensorRT is not installable on every machine that builds bundles, and its parser either refuses a
model on the device or, worse, silently runs layers in float. Each rule here names its violations;
an empty list means that the file is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
from onnx import ModelProto, TensorProto

from export.onnx.convert import MAX_IR
from export.onnx.graph import QUANTIZERS, STANDARD, GraphView, attribute, op_types
from export.tensorrt import operators
from export.tensorrt.operators import name_of

# TensorRT 10.0's parser reads opsets 9..20, 10.15's to 24, 11.x's to 25; 17 is the project's floor.
# A target in opset 21 or 22 is therefore for newer TensorRT than JetPack 6's 10.3.
MIN_OPSET = 17
MAX_OPSET = 20

WEIGHTED = op_types("Conv ConvTranspose Gemm")
_INT8 = np.dtype(np.int8)


def tensorrt_ready(model: ModelProto, left_float: Collection[str] = ()) -> list[str]:
    """Every violation of a rule; empty for a model that TensorRT 10 and 11 run in int8.

    Args:
        left_float: names of additions that are in float on purpose (``quantize.float_blocks``).
    """
    view = GraphView(model)
    violations = [violation for rule in RULES for violation in rule(view)]
    return [*violations, *_additions(view, left_float)]


def _versions(view: GraphView) -> Iterator[str]:
    model = view.model
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if not MIN_OPSET <= opsets.get("", 0) <= MAX_OPSET:
        yield f"opset {opsets.get('', 0)} is outside {MIN_OPSET}..{MAX_OPSET}"
    if model.ir_version > MAX_IR:
        yield f"IR version {model.ir_version} is above {MAX_IR}"
    for node in model.graph.node:
        if node.domain not in STANDARD:
            yield f"{name_of(node)} is of domain {node.domain!r}, which the parser does not know"


def _activations(view: GraphView) -> Iterator[str]:
    for node in view.model.graph.node:
        if node.op_type not in QUANTIZERS or view.constant(node.input[0]) is not None:
            continue  # no quantizer, or that of a stored weight
        name = name_of(node)
        zero = view.optional_constant(node, 2)
        if zero is None or zero.dtype != _INT8:
            yield f"{name} is {'uint8 by default' if zero is None else zero.dtype}, not int8"
        elif zero.any():
            yield f"{name} has zero point {zero.reshape(-1)[0]}, not 0"
        scale = view.constant(node.input[1])
        if scale is None or scale.size != 1:
            yield f"{name} has no constant per-tensor scale"


def _weights(view: GraphView) -> Iterator[str]:
    for node in view.model.graph.node:
        if node.op_type not in WEIGHTED:
            continue
        name = name_of(node)
        source, weight = (view.produced_by(n, "DequantizeLinear") for n in node.input[:2])
        if weight is None and source is not None:
            yield f"{name} has a quantized input and float weights"
        if weight is None:
            continue
        if source is None:
            yield f"{name} has quantized weights and a float input"
        values = view.constant(weight.input[0])
        scale = view.constant(weight.input[1])
        if values is None or values.dtype != _INT8:
            kind = None if values is None else values.dtype
            yield f"{name} has weights of type {kind}, not stored int8"
            continue
        given = len(weight.input) > 2 and weight.input[2]
        zero = view.constant(weight.input[2]) if given else np.zeros(1, np.int8)
        if zero is None or zero.any() or zero.dtype != _INT8:
            yield f"{name} has weights with a zero point other than int8 0"
        axis = attribute(weight, "axis", 1)
        is_transposed = node.op_type == "Gemm" and attribute(node, "transB", 0)
        outputs = 0 if node.op_type == "Conv" or is_transposed else 1  # the axis of the outputs
        per_channel = scale is not None and scale.ndim == 1 and scale.size == values.shape[outputs]
        if not per_channel or axis != outputs:
            yield f"{name} has weights that are not quantized per output channel"


def _biases(view: GraphView) -> Iterator[str]:
    for node in view.model.graph.node:
        if node.op_type in WEIGHTED and len(node.input) > 2 and node.input[2]:
            name = name_of(node)
            bias = view.initializers.get(node.input[2])
            if bias is None:
                yield f"{name} has a bias that is computed (or dequantized), not a stored float"
            elif bias.data_type != TensorProto.FLOAT:
                kind = TensorProto.DataType.Name(bias.data_type)
                yield f"{name} has a bias of type {kind}, not FLOAT"


def _additions(view: GraphView, left_float: Collection[str]) -> Iterator[str]:
    if not any(node.op_type in QUANTIZERS for node in view.model.graph.node):
        return  # a float model
    for node in view.model.graph.node:
        if node.op_type != "Add" or node.name in left_float:
            continue
        is_bias = any(view.constant(name) is not None for name in node.input)
        in_float = [n for n in node.input if view.produced_by(n, "DequantizeLinear") is None]
        if in_float and not is_bias:
            why = f"{len(in_float)} input(s) that are not dequantized: the residual runs in float"
            yield f"{name_of(node)} has {why}"


def _shapes(view: GraphView) -> Iterator[str]:
    for value in view.model.graph.input:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if axis and not size.HasField("dim_value"):
                yield f"input {value.name} is dynamic in axis {axis}: only the batch may be"


_OWN = (_versions, _activations, _weights, _biases, _shapes)
RULES: tuple[Callable[[GraphView], Iterator[str]], ...] = (*_OWN, *operators.RULES)
