"""What is known of a graph without running it: types, shapes, and constants that a fixed batch
makes computable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from compress.engine.errors import ExportError
from export.onnx.qdq import GraphView

Value = Callable[[str], "NDArray[np.generic] | None"]
LARGE = 4096  # elements; shape inference reads the values of smaller constants only
FOLDABLE = 65536  # elements of a result that is stored instead of computed
NEVER_FOLDED = frozenset(
    {"QuantizeLinear", "DequantizeLinear"}
)  # stored int8 weights would become float again


def infer(model: ModelProto) -> dict[str, onnx.TypeProto.Tensor]:
    """Tensor name -> element type and shape, for every tensor of the graph, by ONNX's strict shape
    inference.

    Large weights take part as inputs without values, so that a 2 GB model is inferred in little
    memory.

    Raises:
        ExportError: the graph's types or shapes contradict each other.
    """
    light = ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.graph.name = model.graph.name or "graph"
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if int(np.prod(tensor.dims)) > LARGE:
            light.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
        else:
            light.graph.initializer.append(tensor)
    try:
        inferred = shape_inference.infer_shapes(
            light, check_type=True, strict_mode=True, data_prop=True
        ).graph
    except Exception as error:  # InferenceError, and ValueError for what protobuf refuses
        raise ExportError(
            "the graph's shapes contradict each other",
            got=str(error).splitlines()[0][:300],
            expected="what onnx.shape_inference accepts in strict mode",
        ) from error
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    types = {value.name: value.type.tensor_type for value in _values(inferred)}
    for name, tensor in found.items():
        types[name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims).tensor_type
    return types


def _values(graph: GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.value_info
    yield from graph.input
    yield from graph.output


def element_types(model: ModelProto) -> dict[str, int]:
    """Tensor name -> TensorProto.DataType."""
    return {name: made.elem_type for name, made in infer(model).items()}


def static_shape(made: onnx.TypeProto.Tensor | None) -> tuple[int, ...] | None:
    """The shape where all of it is known."""
    if made is None or not made.HasField("shape"):
        return None
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in made.shape.dim]
    known = tuple(dim for dim in dims if dim is not None)
    return known if len(known) == len(dims) else None


def with_batch(model: ModelProto, batch: int) -> ModelProto:
    """A copy whose batch is fixed, with the shape arithmetic that this makes constant computed."""
    twin = ModelProto()
    twin.CopyFrom(model)
    for value in (*twin.graph.input, *twin.graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        dim.Clear()
        dim.dim_value = batch
    _fold(twin)
    return twin


def _fold(model: ModelProto) -> None:
    """Replaces nodes of constant result by that result, in place."""
    types, view = infer(model), GraphView(model)
    known: dict[str, NDArray[np.generic]] = {}

    def value(name: str) -> NDArray[np.generic] | None:
        return known[name] if name in known else view.constant(name)

    folded: list[NodeProto] = []
    for node in model.graph.node:
        made = _constant_result(node, types, value, model)
        if made is not None:
            known[node.output[0]] = made
            folded.append(node)
    for node in folded:
        model.graph.node.remove(node)
    outputs = {result.name for result in model.graph.output}
    used = {name for node in model.graph.node for name in node.input} | outputs
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in known.items() if name in used
    )
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def _constant_result(
    node: NodeProto, types: Mapping[str, onnx.TypeProto.Tensor], value: Value, model: ModelProto
) -> NDArray[np.generic] | None:
    """What the node makes if that is constant and small, else None; ``value`` gives a constant by
    its name.
    """
    if len(node.output) != 1 or node.op_type in NEVER_FOLDED or node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Shape":
        shape = static_shape(types.get(node.input[0]))
        first, last = (
            next((a.i for a in node.attribute if a.name == name), None) for name in ("start", "end")
        )
        return None if shape is None else np.array(shape[first:last], np.int64)
    shape = static_shape(types.get(node.output[0]))
    inputs = {name: value(name) for name in node.input if name}
    if (
        shape is None
        or np.prod(shape) > FOLDABLE
        or any(array is None for array in inputs.values())
    ):
        return None
    if node.op_type == "Constant":
        return value(node.output[0])
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [
            onnx.helper.make_tensor_value_info(
                name, numpy_helper.from_array(array).data_type, array.shape
            )
            for name, array in inputs.items()
            if array is not None
        ],
        [
            onnx.helper.make_tensor_value_info(
                node.output[0], types[node.output[0]].elem_type, shape
            )
        ],
    )
    single = onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    )
    results: Any = ReferenceEvaluator(single).run(None, inputs)
    return np.asarray(
        results[0], onnx.helper.tensor_dtype_to_np_dtype(types[node.output[0]].elem_type)
    )


def require_whole(model: ModelProto, name: str) -> ModelProto:
    """Returns ``model`` if it holds all of its weights.

    Raises:
        ExportError: external data, or a graph inside a node (If, Loop), which no target here
            rewrites.
    """
    outside = [
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    ]
    outside += [
        entry.name for entry in model.graph.sparse_initializer if entry.values.data_location
    ]
    nested = [
        f"{node.op_type} {node.name}"
        for node in model.graph.node
        if any(
            a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
            for a in node.attribute
        )
    ]
    if outside or nested:
        raise ExportError(
            f"{name} cannot be exported further",
            got=f"external data in {outside[0]}" if outside else f"a graph inside {nested[0]}",
            expected="one self-contained file without control flow",
        )
    return model
