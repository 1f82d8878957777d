"""Half precision: weights and activations in float16 (or bfloat16), inputs and outputs in float32.

TensorRT 11 and strongly typed networks of TensorRT 10 take the types of the file as they are: a
float32 file is a float32 network. So the casts are in the graph, and a node stays in float32 where
half precision would break it:

* it touches a tensor that overflows on real images (export/targets/scan.py), or sums up to one;
* its operator needs float32: squares, exponentials of large values, the scales of quantizers;
* it reads a constant such as ``1e-12`` that half precision turns into zero.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compress.engine.errors import ExportError
from export.onnx.graph import STANDARD, GraphView, label, op_types
from export.targets.scan import MAX_HALF, TensorRange
from export.targets.shapes import Types, infer, static_shape

# Operators that square, exponentiate or accumulate, have inputs that ONNX fixes to float32, or
# choose their own type.
FLOAT32_OPS = op_types(
    "ReduceL2 ReduceSumSquare ReduceLogSumExp ReduceLogSum ReduceProd Pow Exp CumSum Range Resize "
    "Upsample QuantizeLinear DequantizeLinear Cast CastLike NonMaxSuppression RoiAlign "
    "RandomNormal RandomUniform ConstantOfShape BatchNormalization"
)
# Their kernels may add up in the type of their input: the sum has to fit too, not only the mean.
SUMMING = op_types("ReduceMean ReduceSum GlobalAveragePool AveragePool")
SHAPE_ONLY = op_types("Shape Size")  # read no values: they take a tensor of any type
DIVIDING = op_types("Div Reciprocal Sqrt Log")
TINY = "a constant becomes zero or infinite"
GUARDED = "divides by what a small constant keeps from zero"
SHOWN = 8  # tensors in the report

KINDS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


@dataclass(frozen=True)
class HalfReport:
    """Which nodes that compute on floats do so in half precision, as in the manifest."""

    nodes_half: int
    nodes_float32: int
    float32_because: dict[str, str]  # node name -> why it stays in float32
    near_overflow: dict[str, float]  # tensor -> its magnitude, largest first
    subnormal_share: dict[str, float]  # tensor -> its share of subnormal values, largest first


def in_half(
    model: ModelProto, ranges: Mapping[str, TensorRange], kind: str = "fp16"
) -> tuple[ModelProto, HalfReport]:
    """A copy of a float32 model that computes in half precision between float32 in- and outputs.

    Its quantizers do not change.

    Args:
        ranges: the scan of ``model``.
        kind: "fp16" or "bf16"; bfloat16 has float32's range, so only an operator keeps its nodes in
            float32.

    Raises: ExportError: no node can be computed in half precision.
    """
    twin = copy.deepcopy(model)
    _constants_to_initializers(twin)
    types = infer(twin)
    view = GraphView(twin)
    floats = {name for name, type_ in types.items() if type_.elem_type == TensorProto.FLOAT}
    computing = [
        node
        for node in twin.graph.node
        if node.op_type not in SHAPE_ONLY and floats.intersection((*node.input, *node.output))
    ]
    obstacles = {label(node): _obstacle(node, view, ranges, types, kind) for node in computing}
    reasons = {name: why for name, why in obstacles.items() if why is not None}
    # In topological order: a division by what a small constant guards stays in float32 too.
    for node in computing:
        makers = (view.producer[name] for name in node.input if name in view.producer)
        guarded = any(reasons.get(label(maker)) in (TINY, GUARDED) for maker in makers)
        if guarded and node.op_type in DIVIDING:
            reasons.setdefault(label(node), GUARDED)
    halves = {id(node) for node in computing if label(node) not in reasons}
    if not halves:
        got = "; ".join(f"{name}: {why}" for name, why in list(reasons.items())[:3])
        raise ExportError(f"no node can be computed in {kind}", got=got, remedy="ship fp32 or bf16")
    _insert_casts(twin, halves, floats, KINDS[kind])
    scanned = ranges.values() if kind == "fp16" else ()
    by_size = sorted((r for r in scanned if r.near_overflow), key=lambda r: -r.max_abs)
    by_share = sorted((r for r in scanned if r.subnormal_share), key=lambda r: -r.subnormal_share)
    near = {r.name: r.max_abs for r in by_size}
    subnormal = {r.name: round(r.subnormal_share, 6) for r in by_share[:SHOWN]}
    because = dict(sorted(reasons.items()))
    return twin, HalfReport(len(halves), len(reasons), because, near, subnormal)


def _obstacle(
    node: NodeProto, view: GraphView, ranges: Mapping[str, TensorRange], types: Types, kind: str
) -> str | None:
    """Why ``node`` must stay in float32, or None."""
    if node.op_type in FLOAT32_OPS or node.domain not in STANDARD:
        return f"{node.op_type} needs float32"
    if kind != "fp16":
        return None
    constants = [name for name in node.input if name in view.initializers]
    floats = [name for name in constants if types[name].elem_type == TensorProto.FLOAT]
    if any(_loses_meaning(view.constant(name)) for name in floats):
        return TINY
    for name in (*node.input, *node.output):
        if name in ranges and ranges[name].near_overflow:
            return f"{name} reaches {ranges[name].max_abs:.4g}"
    if node.op_type in SUMMING and node.output[0] in ranges:
        total = ranges[node.output[0]].max_abs
        if node.op_type != "ReduceSum":
            before = static_shape(types.get(node.input[0]), unknown=1)
            after = static_shape(types.get(node.output[0]), unknown=1)
            total *= float(np.prod(before) / np.prod(after)) if before and after else 1.0
        if total > MAX_HALF / 2:
            return f"its sum reaches {total:.4g}"
    return None


def _loses_meaning(values: NDArray[np.generic] | None) -> bool:
    """Whether float16 makes a scalar zero or subnormal, or any value of a constant infinite.

    Single weights that vanish among thousands change a result by less than half precision does.
    """
    exact = np.asarray(values, np.float64)
    size = np.abs(exact[exact != 0])
    is_tiny = exact.size == 1 and size.min(initial=1) < 2.0**-14
    return bool(size.max(initial=0) > MAX_HALF or is_tiny)


def _constants_to_initializers(model: ModelProto) -> None:
    """Moves the values of Constant nodes to initializers, in place: one place for all constants."""
    view = GraphView(model)
    for node in [node for node in model.graph.node if node.op_type == "Constant"]:
        value = view.constant(node.output[0])
        if value is not None:
            model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
            model.graph.node.remove(node)


def _insert_casts(model: ModelProto, halves: set[int], floats: set[str], half: int) -> None:
    """Gives nodes (``halves``: their ``id``) half inputs and outputs, and casts where types meet.

    A tensor keeps its name in the type in which it is computed; its cast twin is ``name_half`` or
    ``name_float``.
    """
    graph = model.graph
    in_half = {
        name for node in graph.node if id(node) in halves for name in node.output if name in floats
    }
    # an output of the model keeps its name and type
    renamed = {value.name: f"{value.name}_half" for value in graph.output if value.name in in_half}
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name in floats}
    twins: set[str] = set()  # cast twins that exist
    half_type = helper.tensor_dtype_to_np_dtype(half)
    half_weights: dict[str, TensorProto] = {}
    kept_weights: set[str] = set()
    nodes: list[NodeProto] = []

    def cast(source: str, target: str, to: int) -> str:
        if target not in twins:
            twins.add(target)
            nodes.append(_cast(source, target, to))
        return target

    for node in graph.node:
        if node.op_type in SHAPE_ONLY:
            node.input[0] = renamed.get(node.input[0], node.input[0])
            nodes.append(node)
            continue
        is_half = id(node) in halves
        for place, name in enumerate(node.input):
            if name in weights and is_half:
                twin = f"{name}_half"
                if twin not in half_weights:
                    values = numpy_helper.to_array(weights[name]).astype(half_type)
                    half_weights[twin] = numpy_helper.from_array(values, twin)
                node.input[place] = twin
            elif name in weights:
                kept_weights.add(name)
            elif name in floats and is_half and name not in in_half:
                node.input[place] = cast(name, f"{name}_half", half)
            elif is_half:
                node.input[place] = renamed.get(name, name)
            elif name in in_half and name not in renamed:
                node.input[place] = cast(name, f"{name}_float", TensorProto.FLOAT)
        nodes.append(node)
        for place, name in enumerate(node.output):
            if is_half and name in renamed:
                node.output[place] = renamed[name]
                cast(renamed[name], name, TensorProto.FLOAT)
    _replace_nodes(model, nodes)
    gone = weights.keys() - kept_weights
    kept = copy.deepcopy([tensor for tensor in graph.initializer if tensor.name not in gone])
    del graph.initializer[:]
    graph.initializer.extend([*kept, *half_weights.values()])


def _replace_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    """Puts ``nodes``, some of which are the model's own, in place of its nodes."""
    copies = copy.deepcopy(nodes)  # deleted messages lose their content
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(copies)


def emulated(model: ModelProto) -> ModelProto:
    """A float32 twin of a half precision model: rounds every half tensor, sums in float32.

    GPU kernels compute so. An engine without half kernels does not: onnxruntime's CPU computes
    whole chains of float16 operators in float32 and drops the casts between them, so nothing
    overflows there.
    """
    twin = copy.deepcopy(model)
    kinds = {name: type_.elem_type for name, type_ in infer(twin).items()}
    halves = {name: kind for name, kind in kinds.items() if kind in KINDS.values()}
    nodes: list[NodeProto] = []
    for node in twin.graph.node:
        rounded = [name for name in node.output if name in halves]
        suffix = "rounded" if node.op_type == "Cast" else "exact"
        node.output[:] = [f"{name}_{suffix}" if name in halves else name for name in node.output]
        nodes.append(node)
        for name in rounded:
            if suffix == "exact":
                nodes.append(_cast(f"{name}_exact", f"{name}_rounded", halves[name]))
            nodes.append(_cast(f"{name}_rounded", name, TensorProto.FLOAT, "float"))
    _replace_nodes(twin, nodes)
    for tensor in twin.graph.initializer:
        if tensor.name in halves:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return twin


def _cast(source: str, target: str, to: int, suffix: str = "cast") -> NodeProto:
    return helper.make_node("Cast", [source], [target], f"{target}_{suffix}", to=to)
