"""Mixed precision by removal: an int8 model with the quantizers of some blocks taken out, and their
float weights back.

The int8 file of TensorRT (int8, zero point 0) is rewritten, and ``qdq.to_uint8`` makes
onnxruntime's file from the result as it does from the whole model. No exporter runs, so dozens of
mixtures cost seconds, and the rest of the graph keeps its bytes. Every removal is edge by edge: a
    tensor that an int8 operator reads too keeps its quantizer for that one.

What is removed is known by position: the n-th convolution (linear layer, addition, pooling) of the
    captured graph is the
n-th one that reads quantized data in the file. Counts and weights are compared, so another model's
graph is an error.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper
from torchao.quantization.pt2e import FakeQuantize

from compress.engine.errors import ExportError
from compress.quantize.blocks import Operator, is_covered, path_of
from compress.quantize.graph import PreparedStudent
from compress.quantize.quantizer import kind_of
from export.onnx.convert import drop_dead
from export.onnx.qdq import GraphView

KINDS = {
    "Conv": "convolution",
    "ConvTranspose": "convolution",
    "Gemm": "linear",
    "MatMul": "linear",
    "Add": "addition",
    "ReduceMean": "pool",
    "AveragePool": "pool",
    "GlobalAveragePool": "pool",
    "MaxPool": "pool",
}
"""ONNX operator -> the kind of a captured one (compress/quantize/quantizer.py)."""
RESHAPES = frozenset({"Transpose", "Reshape", "Unsqueeze", "Squeeze"})
"""What may stand between stored weights and the operator that reads them."""

Weights = Mapping[str, NDArray[np.float32]]


def leave_float(
    model: ModelProto, operators: Sequence[Operator], names: Collection[str], weights: Weights
) -> ModelProto:
    """A copy of an int8 zero-point-0 model in which the operators ``names`` compute in float.

    Args:
        model: the file of TensorRT (``int8.trt``).
        operators: every int8 operator of the graph it was converted from, in order.
        names: of the operators to leave in float.
        weights: float weights by the names in ``operators``.

    Raises:
        ExportError: the file does not hold these operators, or other weights.
    """
    twin = ModelProto()
    twin.CopyFrom(model)
    del twin.metadata_props[:]  # says of itself that it is the int8 file
    view = GraphView(twin)
    found = match(view, operators)
    chosen = [(operator, node) for operator, node in found if operator.name in names]
    makers = {node.output[0] for operator, node in chosen if operator.kind == "pool"}
    known = {node.output[0] for _, node in found}
    for operator, node in chosen:
        _read_float(view, node)
        if operator.weight is not None:
            _restore(twin, view, operator, node, weights[operator.weight])
    for node in (
        twin.graph.node
    ):  # a pooling's output quantizer, where something reads it that is not in int8 itself
        if node.output[0] not in known and node.op_type not in (
            "QuantizeLinear",
            "DequantizeLinear",
        ):
            _read_float(view, node, makers)
    drop_dead(twin)
    return twin


def match(view: GraphView, operators: Sequence[Operator]) -> list[tuple[Operator, NodeProto]]:
    """Each operator and its node.

    Raises:
        ExportError: the model holds another number of them.
    """
    readers: dict[str, list[NodeProto]] = {}
    for node in view.model.graph.node:
        kind = KINDS.get(node.op_type)
        if kind is not None and any(_activation(view, name) is not None for name in node.input):
            readers.setdefault(kind, []).append(node)
    wanted: dict[str, list[Operator]] = {}
    for operator in operators:
        wanted.setdefault(operator.kind, []).append(operator)
    counts = {
        kind: (len(wanted.get(kind, ())), len(readers.get(kind, ())))
        for kind in {*wanted, *readers}
    }
    if any(a != b for a, b in counts.values()):
        raise ExportError(
            "the int8 file is not the one of this student",
            got=", ".join(f"{b} of kind {kind}" for kind, (_, b) in sorted(counts.items())),
            expected=", ".join(f"{a} of kind {kind}" for kind, (a, _) in sorted(counts.items())),
            remedy="build the run again",
        )
    at = dict.fromkeys(wanted, 0)
    pairs = []
    for operator in operators:
        pairs.append((operator, readers[operator.kind][at[operator.kind]]))
        at[operator.kind] += 1
    return pairs


def float_weights(
    prepared: PreparedStudent, operators: Sequence[Operator]
) -> dict[str, NDArray[np.float32]]:
    """What a prepared student's fake quantizers round: its weights in float, by name."""
    state = prepared.graph.state_dict()
    return {
        o.weight: state[o.weight].detach().numpy().copy() for o in operators if o.weight is not None
    }


def left_float(prepared: PreparedStudent, names: Collection[str]) -> PreparedStudent:
    """A copy of a prepared student without the fake quantizers in front of the operators ``names``:
    the reference of ``leave_float``'s file.
    """
    twin = copy.deepcopy(prepared)
    graph = twin.graph.graph

    def quantizer(node: object) -> bool:
        target = getattr(node, "target", None)
        return getattr(node, "op", "") == "call_module" and isinstance(
            twin.graph.get_submodule(str(target)), FakeQuantize
        )

    for node in list(graph.nodes):
        if quantizer(node):
            continue
        annotated = "quantization_annotation" in node.meta
        for source in list(node.all_input_nodes):
            raw = source
            while quantizer(raw):
                raw = raw.args[0]
            if raw is not source and (node.name in names or (not annotated and raw.name in names)):
                node.replace_input_with(source, raw)
    graph.eliminate_dead_code()
    twin.graph.recompile()
    return twin


def additions_left_float(
    prepared: PreparedStudent, model: ModelProto, float_blocks: Sequence[str]
) -> list[str]:
    """Names of the residual additions in ``model`` that ``float_blocks`` keep in float.

    By position among the additions of two computed tensors; none where the exporter made other
    ones.
    """
    if not float_blocks:
        return []
    captured = [
        node
        for node in prepared.graph.graph.nodes
        if kind_of(node.target) == "addition"
        and all(hasattr(side, "op") and side.op != "get_attr" for side in node.args[:2])
    ]
    view = GraphView(model)
    made = [
        node
        for node in model.graph.node
        if node.op_type == "Add" and all(view.constant(name) is None for name in node.input)
    ]
    if len(captured) != len(made):
        return []
    return [
        b.name for a, b in zip(captured, made, strict=True) if is_covered(float_blocks, path_of(a))
    ]


def _activation(view: GraphView, name: str) -> NodeProto | None:
    """The QuantizeLinear behind ``name`` if it is a dequantized activation."""
    dequantize = view.producer.get(name)
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return None
    quantize = view.producer.get(dequantize.input[0])
    return quantize if quantize is not None and quantize.op_type == "QuantizeLinear" else None


def _read_float(view: GraphView, node: NodeProto, makers: Collection[str] | None = None) -> None:
    """Lets ``node`` read what its quantizers read; with ``makers`` only where one of these tensors
    is behind them.
    """
    for index, name in enumerate(node.input):
        source = name
        while (quantize := _activation(view, source)) is not None:
            source = quantize.input[0]
        if source != name and (makers is None or source in makers):
            node.input[index] = source


def _restore(
    model: ModelProto,
    view: GraphView,
    operator: Operator,
    node: NodeProto,
    weight: NDArray[np.float32],
) -> None:
    """Puts float weights in place of ``node``'s stored int8 ones."""
    holder, at = node, 1
    while (maker := view.producer.get(holder.input[at])) is not None and maker.op_type in RESHAPES:
        holder, at = maker, 0
    stored = view.producer.get(holder.input[at])
    values = (
        view.constant(stored.input[0])
        if stored is not None and stored.op_type == "DequantizeLinear"
        else None
    )
    if stored is None or values is None or values.dtype != np.int8:
        raise ExportError(
            f"{node.op_type} {node.name} has no stored int8 weights",
            expected="the int8 file of a bundle",
        )
    scale = view.constant(stored.input[1])
    assert scale is not None
    axis = next((attribute.i for attribute in stored.attribute if attribute.name == "axis"), 1)
    shape = [1] * values.ndim
    shape[axis] = scale.size
    steps = scale.astype(np.float32).reshape(shape)
    plain = weight.T if weight.shape != values.shape and weight.T.shape == values.shape else weight
    if plain.shape != values.shape or float(
        np.abs(values.astype(np.float32) * steps - plain).mean()
    ) > float(steps.mean()):
        raise ExportError(
            f"the weights of {operator.path} are not those of the int8 file",
            got=f"shape {values.shape} in the file",
            expected=f"shape {weight.shape}, rounded",
            remedy="build the run again",
        )
    name = f"{operator.weight}.float"  # the int8 values may go by the plain name
    if name not in view.initializers:
        tensor = numpy_helper.from_array(np.ascontiguousarray(plain, np.float32), name)
        model.graph.initializer.append(tensor)
        view.initializers[name] = tensor
    holder.input[at] = name
