"""Half precision as data: weights and activations are stored and computed in float16 (or bfloat16),
inputs and outputs stay float32.

TensorRT 11 and strongly typed networks of TensorRT 10 take the types of the file as they are: a
    float32 file is a
float32 network. So the casts are in the graph, and a node stays in float32 where half precision
would break it:

* it touches a tensor that overflows on real images (export/targets/scan.py), or sums up to one;
* its operator needs float32: squares, exponentials of large values, the scales of quantizers;
* it reads a constant such as ``1e-12`` that half precision turns into zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from compress.engine.errors import ExportError
from export.onnx.qdq import GraphView
from export.targets.scan import MAX_HALF, TensorRange
from export.targets.shapes import infer, static_shape

FLOAT32_OPS = frozenset(
    {
        "ReduceL2",
        "ReduceSumSquare",
        "ReduceLogSumExp",
        "ReduceLogSum",
        "ReduceProd",
        "Pow",
        "Exp",
        "CumSum",
        "Range",
        "Resize",
        "Upsample",
        "QuantizeLinear",
        "DequantizeLinear",
        "Cast",
        "CastLike",
        "NonMaxSuppression",
        "RoiAlign",
        "RandomNormal",
        "RandomUniform",
        "ConstantOfShape",
        "BatchNormalization",
    }
)
"""Operators that square, exponentiate or accumulate, have inputs that ONNX fixes to float32, or
choose their own type.
"""

SUMMING = frozenset({"ReduceMean", "ReduceSum", "GlobalAveragePool", "AveragePool"})
"""Operators whose kernels may add up in the type of their input: the sum must fit too, not only the
mean.
"""


@dataclass(frozen=True)
class HalfReport:
    """What half precision was given, and what not.

    Attributes:
        half, kept: how many nodes compute in half precision and in float32, of those that compute
            on floats.
        reasons: node name -> why it stays in float32.
        ranges: the scan, largest magnitude first (at most ``SHOWN`` rows).
    """

    half: int
    kept: int
    reasons: dict[str, str]
    near_overflow: dict[str, float]
    most_subnormal: dict[str, float]

    def to_json(self) -> dict[str, object]:
        """Plain values for the manifest."""
        return {
            "nodes_half": self.half,
            "nodes_float32": self.kept,
            "float32_because": self.reasons,
            "near_overflow": self.near_overflow,
            "subnormal_share": self.most_subnormal,
        }


SHAPE_ONLY = frozenset(
    {"Shape", "Size"}
)  # read no values: they take a tensor in whatever type it is
TINY, GUARDED = (
    "a constant becomes zero or infinite",
    "divides by what a small constant keeps from zero",
)
DIVIDING = frozenset({"Div", "Reciprocal", "Sqrt", "Log"})
SHOWN = 8  # tensors that the report names

KINDS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def in_half(
    model: ModelProto, ranges: Mapping[str, TensorRange], kind: str = "fp16"
) -> tuple[ModelProto, HalfReport]:
    """A copy of a float32 model that computes in half precision between a float32 input and float32
    outputs.

    Args:
        model: float32, quantizers are not changed.
        ranges: the scan of ``model``.
        kind: "fp16" or "bf16"; bfloat16 has float32's range, so its nodes stay for their operator
            only.

    Raises:
        ExportError: no node can be computed in half precision.
    """
    twin = ModelProto()
    twin.CopyFrom(model)
    _constants_to_initializers(twin)
    shapes, view = infer(twin), GraphView(twin)
    floats = {name for name, made in shapes.items() if made.elem_type == TensorProto.FLOAT}
    computing = [
        node
        for node in twin.graph.node
        if node.op_type not in SHAPE_ONLY
        and any(name in floats for name in (*node.input, *node.output) if name)
    ]
    reasons: dict[str, str] = {}
    for node in computing:
        why = _obstacle(node, view, ranges, shapes, floats, kind)
        if why is not None:
            reasons[_name(node)] = why
    for node in (
        computing
    ):  # in topological order: what a small constant guards is divided by in float32 too
        guarded = any(
            reasons.get(_name(view.producer[n])) in (TINY, GUARDED)
            for n in node.input
            if n in view.producer
        )
        if guarded and node.op_type in DIVIDING:
            reasons.setdefault(_name(node), GUARDED)
    chosen = {id(node) for node in computing if _name(node) not in reasons}
    if not chosen:
        raise ExportError(
            f"no node can be computed in {kind}",
            got="; ".join(f"{k}: {v}" for k, v in list(reasons.items())[:3]),
            expected="activations within float16's range",
            remedy="ship fp32 or bf16",
        )
    _insert_casts(twin, chosen, floats, KINDS[kind])
    near = sorted(
        (row for row in ranges.values() if row.near_overflow), key=lambda row: -row.max_abs
    )
    subnormal = sorted(
        (row for row in ranges.values() if row.subnormal_share > 0),
        key=lambda row: -row.subnormal_share,
    )
    report = HalfReport(
        len(chosen),
        len(reasons),
        dict(sorted(reasons.items())),
        {row.name: row.max_abs for row in near} if kind == "fp16" else {},
        {row.name: round(row.subnormal_share, 6) for row in subnormal[:SHOWN]}
        if kind == "fp16"
        else {},
    )
    return twin, report


def _name(node: NodeProto) -> str:
    return node.name or str(node.output[0])


def _obstacle(
    node: NodeProto,
    view: GraphView,
    ranges: Mapping[str, TensorRange],
    shapes: Mapping[str, onnx.TypeProto.Tensor],
    floats: set[str],
    kind: str,
) -> str | None:
    """Why ``node`` must stay in float32, or None."""
    if node.op_type in FLOAT32_OPS or node.domain not in ("", "ai.onnx"):
        return f"{node.op_type} needs float32"
    if any(
        name in floats and name in view.initializers and _underflows(view, name, kind)
        for name in node.input
    ):
        return TINY
    if kind != "fp16":
        return None
    for name in (*node.input, *node.output):
        if name in ranges and ranges[name].near_overflow:
            return f"{name} reaches {ranges[name].max_abs:.4g}"
    if node.op_type in SUMMING and node.output[0] in ranges:
        before, after = (
            static_shape(_batch_one(shapes.get(n))) for n in (node.input[0], node.output[0])
        )
        count = np.prod(before) / np.prod(after) if before and after else 1.0
        total = ranges[node.output[0]].max_abs * (
            1.0 if node.op_type == "ReduceSum" else float(count)
        )
        if total > MAX_HALF / 2:
            return f"its sum reaches {total:.4g}"
    return None


def _batch_one(made: onnx.TypeProto.Tensor | None) -> onnx.TypeProto.Tensor | None:
    """The type with 1 for every open dimension."""
    if made is None:
        return None
    closed = onnx.TypeProto.Tensor()
    closed.CopyFrom(made)
    for dim in closed.shape.dim:
        if not dim.HasField("dim_value"):
            dim.dim_value = 1
    return closed


def _underflows(view: GraphView, name: str, kind: str) -> bool:
    """Whether a constant changes its meaning: a scalar that becomes zero or subnormal, any value
    that overflows.

    Single weights that vanish among thousands change a result by less than half precision itself
    does.
    """
    values = np.asarray(view.constant(name), np.float64)
    size = np.abs(values[values != 0])
    if not size.size or kind != "fp16":
        return False
    return bool(size.max() > MAX_HALF or (values.size == 1 and size.min() < 2.0**-14))


def _constants_to_initializers(model: ModelProto) -> None:
    """Moves the values of Constant nodes to initializers, in place: one place for all constants."""
    view = GraphView(model)
    for node in [node for node in model.graph.node if node.op_type == "Constant"]:
        value = view.constant(node.output[0])
        if value is not None:
            model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
            model.graph.node.remove(node)


def _insert_casts(model: ModelProto, chosen: set[int], floats: set[str], half: int) -> None:
    """Gives the chosen nodes half inputs and outputs, with a Cast wherever the two types meet, in
    place.

    A tensor keeps its name in the type in which it is made; its cast twin is ``name_half`` or
    ``name_float``.
    """
    graph = model.graph
    outputs = {value.name for value in graph.output}
    made_half = {
        name for node in graph.node if id(node) in chosen for name in node.output if name in floats
    }
    renamed = {
        name: f"{name}_half" for name in made_half & outputs
    }  # an output keeps its name and type
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name in floats}
    ready: set[str] = set()  # cast twins that exist
    extra: dict[str, TensorProto] = {}
    nodes: list[NodeProto] = []
    kept_weights: set[str] = set()

    def cast(source: str, target: str, to: int) -> str:
        if target not in ready:
            ready.add(target)
            nodes.append(_cast(source, target, to))
        return target

    for node in list(graph.node):
        if node.op_type in SHAPE_ONLY:
            node.input[0] = renamed.get(node.input[0], node.input[0])
            nodes.append(node)
            continue
        is_half = id(node) in chosen
        for place, name in enumerate(node.input):
            if name not in floats:
                continue
            if name in weights:
                if is_half:
                    twin = f"{name}_half"
                    extra.setdefault(twin, _half_tensor(weights[name], twin, half))
                    node.input[place] = twin
                else:
                    kept_weights.add(name)
            elif is_half and name not in made_half:
                node.input[place] = cast(name, f"{name}_half", half)
            elif is_half:
                node.input[place] = renamed.get(name, name)
            elif name in made_half:
                node.input[place] = (
                    name if name in renamed else cast(name, f"{name}_float", TensorProto.FLOAT)
                )
        if is_half:
            for place, name in enumerate(node.output):
                node.output[place] = renamed.get(name, name)
        nodes.append(node)
        for name in node.output:
            original = name.removesuffix("_half")
            if renamed.get(original) == name:
                cast(name, original, TensorProto.FLOAT)
    rest = [
        tensor
        for tensor in graph.initializer
        if tensor.name not in weights or tensor.name in kept_weights
    ]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    kept = [TensorProto.FromString(tensor.SerializeToString()) for tensor in rest]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(copies)
    graph.initializer.extend([*kept, *extra.values()])


def _half_tensor(tensor: TensorProto, name: str, half: int) -> TensorProto:
    values: NDArray[np.float32] = numpy_helper.to_array(tensor)
    return numpy_helper.from_array(values.astype(onnx.helper.tensor_dtype_to_np_dtype(half)), name)


def emulated(model: ModelProto) -> ModelProto:
    """A float32 twin of a half precision model that rounds every half tensor, weights too, and sums
    in float32.

    That is what GPU kernels do. An engine without half kernels does not: onnxruntime's CPU computes
        whole chains of
    float16 operators in float32 and drops the casts between them, so that nothing overflows there.
    """
    twin = ModelProto()
    twin.CopyFrom(model)
    halves = {
        name: made.elem_type
        for name, made in infer(twin).items()
        if made.elem_type in KINDS.values()
    }
    nodes: list[NodeProto] = []
    for node in twin.graph.node:
        rounded = [name for name in node.output if name in halves]
        casts = node.op_type == "Cast" and bool(rounded)
        for place, name in enumerate(node.output):
            if name in rounded:
                node.output[place] = f"{name}_rounded" if casts else f"{name}_exact"
        nodes.append(node)
        for name in rounded:
            if not casts:
                nodes.append(_cast(f"{name}_exact", f"{name}_rounded", halves[name]))
            nodes.append(_cast(f"{name}_rounded", name, TensorProto.FLOAT, "float"))
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del twin.graph.node[:], twin.graph.value_info[:]
    twin.graph.node.extend(copies)
    for tensor in twin.graph.initializer:
        if tensor.name in halves:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return twin


def _cast(source: str, target: str, to: int, suffix: str = "cast") -> NodeProto:
    return onnx.helper.make_node("Cast", [source], [target], f"{target}_{suffix}", to=to)
