"""Mixed precision by removal: takes the quantizers of some blocks out of an int8 model.

Their float weights come back. The int8 file for TensorRT (int8, zero point 0) is rewritten, and
``qdq.to_uint8`` makes onnxruntime's file from the result, as it does from the whole model. No
exporter runs, so dozens of variants cost seconds, and the rest of the graph keeps its bytes.
Removal goes edge by edge: a tensor that an int8 operator reads too keeps its quantizer for that
operator.

Operators are matched by position: the n-th convolution (linear layer, addition, pooling) of the
captured graph is the n-th one that reads quantized data in the file. Counts and weights are
compared, so another model's graph is an error.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper
from torch import Tensor
from torch.fx import Node
from torchao.quantization.pt2e import FakeQuantize

from compress.engine.errors import ExportError
from compress.quantize.blocks import Operator, is_covered, operators_of, path_of
from compress.quantize.graph import PreparedStudent
from compress.quantize.quantizer import RULES
from export.onnx.graph import QUANTIZERS, GraphView, attribute, remove_unused

# ONNX operator -> the kind of a captured one (compress/quantize/quantizer.py)
KINDS = {
    **dict.fromkeys(("Conv", "ConvTranspose"), "convolution"),
    **dict.fromkeys(("Gemm", "MatMul"), "linear"),
    "Add": "addition",
    **dict.fromkeys(("ReduceMean", "AveragePool", "GlobalAveragePool", "MaxPool"), "pool"),
}
# Nodes that may stand between stored weights and the operator that reads them
RESHAPES = frozenset({"Transpose", "Reshape", "Unsqueeze", "Squeeze"})

Weights = Mapping[str, NDArray[np.float32]]


def leave_float(
    model: ModelProto, operators: Sequence[Operator], names: Collection[str], weights: Weights
) -> ModelProto:
    """A copy of an int8 zero-point-0 model in which the operators ``names`` compute in float.

    Args:
        model: the file for TensorRT (``int8.trt``).
        operators: every int8 operator of the graph it was converted from, in order.
        weights: float weights by the names in ``operators``, and biases that are not the file's.

    Raises: ExportError: the file does not hold these operators, or has other weights.
    """
    twin = copy.deepcopy(model)
    del twin.metadata_props[:]  # they call it the int8 file
    view = GraphView(twin)
    pairs = match(view, operators)
    results = set()
    for operator, node in pairs:
        if operator.name not in names:
            continue
        results.add(node.output[0])
        _read_float(view, node)
        if operator.weight is not None:
            _restore(view, operator, node, weights[operator.weight])
        if operator.bias is not None and operator.bias in weights:
            _restore_bias(view, operator.bias, node, weights[operator.bias])
    # The quantizer of an operator's output goes too, where its reader is not in int8 itself.
    known = {node.output[0] for _, node in pairs}
    for node in twin.graph.node:
        if node.output[0] not in known and node.op_type not in QUANTIZERS:
            _read_float(view, node, results)
    remove_unused(twin)
    return twin


def match(view: GraphView, operators: Sequence[Operator]) -> list[tuple[Operator, NodeProto]]:
    """Each operator and its node; raises ExportError if the model holds another number of them."""
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in view.model.graph.node:
        if node.op_type in KINDS and _is_int8(view, node):
            readers[KINDS[node.op_type]].append(node)
    expected = Counter(operator.kind for operator in operators)
    got = Counter({kind: len(nodes) for kind, nodes in readers.items()})
    if got != expected:
        kinds = sorted({*got, *expected})
        raise ExportError(
            "the int8 file is not the one of this student: build the run again",
            got=", ".join(f"{got[kind]} of kind {kind}" for kind in kinds),
            expected=", ".join(f"{expected[kind]} of kind {kind}" for kind in kinds),
        )
    remaining = {kind: iter(nodes) for kind, nodes in readers.items()}
    return [(operator, next(remaining[operator.kind])) for operator in operators]


def float_weights(
    prepared: PreparedStudent,
    operators: Sequence[Operator],
    fitted: Mapping[str, Tensor] = MappingProxyType({}),
) -> Weights:
    """The float weights behind a prepared student's fake quantizers, by name.

    Those that were ``fitted`` before they were rounded come with their biases.
    """
    state = prepared.graph.state_dict() | dict(fitted)
    names = {operator.weight for operator in operators if operator.weight is not None} | {*fitted}
    return {name: state[name].detach().numpy().copy() for name in names}


def left_float(
    prepared: PreparedStudent, names: Collection[str], weights: Weights = MappingProxyType({})
) -> PreparedStudent:
    """The reference of ``leave_float``: no fake quantizers before the operators ``names``."""
    twin = copy.deepcopy(prepared)
    graph = twin.graph.graph
    parameters = dict(twin.graph.named_parameters())
    for operator in operators_of(twin.graph):
        if operator.name in names:
            for name in weights.keys() & {operator.weight, operator.bias}:
                parameters[name].data.copy_(torch.from_numpy(weights[name]))

    def is_quantizer(node: Node) -> bool:
        if node.op != "call_module":
            return False
        return isinstance(twin.graph.get_submodule(str(node.target)), FakeQuantize)

    for node in list(graph.nodes):
        if is_quantizer(node):
            continue
        annotated = "quantization_annotation" in node.meta
        for source in list(node.all_input_nodes):
            raw = source
            while is_quantizer(raw):
                raw = raw.args[0]  # type: ignore[assignment]
            if raw is not source and (node.name in names or (not annotated and raw.name in names)):
                node.replace_input_with(source, raw)
    graph.eliminate_dead_code()
    twin.graph.recompile()
    return twin


def additions_left_float(
    prepared: PreparedStudent, model: ModelProto, float_blocks: Sequence[str]
) -> list[str]:
    """Names of the residual additions in ``model`` that ``float_blocks`` keep in float.

    Matched by position among the additions of two computed tensors; empty where the exporter wrote
    another number of them.
    """
    if not float_blocks:
        return []
    captured = [
        node
        for node in prepared.graph.graph.nodes
        if node.target in RULES
        and RULES[node.target].kind == "addition"
        and all(isinstance(side, Node) and side.op != "get_attr" for side in node.args[:2])
    ]
    view = GraphView(model)
    written = [
        node
        for node in model.graph.node
        if node.op_type == "Add" and all(view.constant(name) is None for name in node.input)
    ]
    if len(captured) != len(written):
        return []
    pairs = zip(captured, written, strict=True)
    return [node.name for ours, node in pairs if is_covered(float_blocks, path_of(ours))]


def _quantizer(view: GraphView, name: str) -> NodeProto | None:
    """The QuantizeLinear behind ``name`` if it is a dequantized activation."""
    dequantize = view.produced_by(name, "DequantizeLinear")
    return None if dequantize is None else view.produced_by(dequantize.input[0], "QuantizeLinear")


def _is_int8(view: GraphView, node: NodeProto) -> bool:
    """Whether all that an operator computes on is dequantized: a convolution's result may be, too,
    for readers that are in float."""
    kind = KINDS[node.op_type]
    activations = node.input[: 2 if kind == "addition" else 1]
    weight = node.input[1] if kind in ("convolution", "linear") else ""
    while (maker := view.producer.get(weight)) is not None and maker.op_type in RESHAPES:
        weight = maker.input[0]
    is_stored = not weight or view.produced_by(weight, "DequantizeLinear") is not None
    return is_stored and all(_quantizer(view, name) for name in activations)


def _read_float(view: GraphView, node: NodeProto, sources: Collection[str] | None = None) -> None:
    """Connects ``node`` to what its quantizers read; with ``sources`` only to one of these."""
    for index, name in enumerate(node.input):
        source = name
        while (quantize := _quantizer(view, source)) is not None:
            source = quantize.input[0]
        if source != name and (sources is None or source in sources):
            node.input[index] = source


def _restore_bias(view: GraphView, name: str, node: NodeProto, bias: NDArray[np.float32]) -> None:
    """Puts a float bias in place of ``node``'s."""
    holder, at = _bias_of(view, node)
    stored = None if holder is None else view.constant(holder.input[at])
    if holder is None or stored is None or stored.size != bias.size:
        what = f"the bias of {node.op_type} {node.name} is not {name}: build the run again"
        raise ExportError(what, expected="the int8 file of a bundle")
    tensor = numpy_helper.from_array(bias.reshape(stored.shape), f"{name}.float")
    view.model.graph.initializer.append(tensor)
    view.initializers[tensor.name] = tensor
    holder.input[at] = tensor.name


def _bias_of(view: GraphView, node: NodeProto) -> tuple[NodeProto | None, int]:
    """Where a bias is read: by the operator, or by the addition behind a MatMul."""
    if len(node.input) > 2:
        return node, 2
    for reader in view.consumers.get(node.output[0], []):
        for at, name in enumerate(reader.input):
            if reader.op_type == "Add" and view.constant(name) is not None:
                return reader, at
    return None, 0


def _restore(
    view: GraphView, operator: Operator, node: NodeProto, weight: NDArray[np.float32]
) -> None:
    """Puts float weights in place of ``node``'s stored int8 ones."""
    holder = node
    at = 1
    while (maker := view.producer.get(holder.input[at])) is not None and maker.op_type in RESHAPES:
        holder = maker
        at = 0
    stored = view.produced_by(holder.input[at], "DequantizeLinear")
    values = None if stored is None else view.constant(stored.input[0])
    if stored is None or values is None or values.dtype != np.int8:
        expected = "the int8 file of a bundle"
        raise ExportError(f"{node.op_type} {node.name} has no int8 weights", expected=expected)
    scale = view.constant(stored.input[1])
    assert scale is not None
    shape = [1] * values.ndim
    shape[attribute(stored, "axis", 1)] = scale.size
    steps = scale.astype(np.float32).reshape(shape)
    plain = weight.T if weight.shape != values.shape and weight.T.shape == values.shape else weight
    fits = plain.shape == values.shape
    if not fits or np.abs(values.astype(np.float32) * steps - plain).mean() > steps.mean():
        what = f"the weights of {operator.path} are not those of the int8 file: build the run again"
        expected = f"shape {weight.shape}, rounded"
        raise ExportError(what, got=f"shape {values.shape} in the file", expected=expected)
    name = f"{operator.weight}.float"  # the int8 values may have the plain name
    if name not in view.initializers:
        tensor = numpy_helper.from_array(np.ascontiguousarray(plain, np.float32), name)
        view.model.graph.initializer.append(tensor)
        view.initializers[name] = tensor
    holder.input[at] = name
