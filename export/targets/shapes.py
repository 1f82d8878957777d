"""A graph without running it: types, shapes, and constants that a fixed batch makes computable."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, helper, numpy_helper, shape_inference
from onnx.external_data_helper import uses_external_data
from onnx.reference import ReferenceEvaluator

from compress.engine.errors import ExportError
from export.onnx.graph import QUANTIZERS, STANDARD, GraphView, attribute, remove_unused

Types = Mapping[str, onnx.TypeProto.Tensor]
LARGE = 4096  # elements; shape inference reads the values of smaller constants only
FOLDABLE = 65536  # elements of a result that is stored instead of computed


def infer(model: ModelProto) -> Types:
    """Tensor name -> element type and shape, by ONNX's strict shape inference.

    Large weights take part as inputs without values, so that a 2 GB model needs little memory.

    Raises: ExportError: the graph's types or shapes contradict each other.
    """
    light = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = model.graph.name or "graph"
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if int(np.prod(tensor.dims)) > LARGE:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            light.graph.input.append(value)
        else:
            light.graph.initializer.append(tensor)
    try:
        inferred = shape_inference.infer_shapes(
            light, check_type=True, strict_mode=True, data_prop=True
        ).graph
    except Exception as error:  # InferenceError, and ValueError for what protobuf refuses
        got = str(error).splitlines()[0][:300]
        raise ExportError("the graph's shapes contradict each other", got=got) from error
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    types = {value.name: value.type.tensor_type for value in values}
    for tensor in model.graph.initializer:
        proto = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        types[tensor.name] = proto.tensor_type
    return types


def static_shape(kind: onnx.TypeProto.Tensor | None, unknown: int = 0) -> tuple[int, ...] | None:
    """The shape if all of it is known; a positive ``unknown`` stands for open dimensions."""
    if kind is None or not kind.HasField("shape"):
        return None
    dims = [dim.dim_value if dim.HasField("dim_value") else unknown for dim in kind.shape.dim]
    is_open = any(not dim.HasField("dim_value") for dim in kind.shape.dim)
    return None if is_open and not unknown else tuple(dims)


def with_batch(model: ModelProto, batch: int) -> ModelProto:
    """A copy with a fixed batch, and results in place of the shape arithmetic that depends on it.

    Not onnxscript's constant folding: its round trip re-serializes every node, so that the rest of
    the file would change too (see ``remove_unused``).
    """
    twin = copy.deepcopy(model)
    for value in (*twin.graph.input, *twin.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_value = batch
    types = infer(twin)
    view = GraphView(twin)
    known: dict[str, NDArray[np.generic]] = {}
    for node in list(twin.graph.node):
        result = _constant_result(node, types, known, view)
        if result is not None:
            known[node.output[0]] = result
            twin.graph.node.remove(node)
    tensors = (numpy_helper.from_array(array, name) for name, array in known.items())
    twin.graph.initializer.extend(tensors)
    remove_unused(twin)
    return twin


def _constant_result(
    node: NodeProto, types: Types, known: Mapping[str, NDArray[np.generic]], view: GraphView
) -> NDArray[np.generic] | None:
    # Quantizers stay: a folded one would turn stored int8 weights into float.
    if len(node.output) != 1 or node.op_type in QUANTIZERS or node.domain not in STANDARD:
        return None
    if node.op_type == "Shape":
        shape = static_shape(types.get(node.input[0]))
        part = slice(attribute(node, "start"), attribute(node, "end"))
        return None if shape is None else np.array(shape[part], np.int64)
    kind = types.get(node.output[0])
    shape = static_shape(kind)
    if kind is None or shape is None or np.prod(shape) > FOLDABLE:
        return None
    names = [name for name in node.input if name]
    found = {name: known[name] if name in known else view.constant(name) for name in names}
    inputs = {name: array for name, array in found.items() if array is not None}
    if len(inputs) < len(found):
        return None
    if node.op_type == "Constant":
        return view.constant(node.output[0])
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in inputs.items()
    ]
    output = helper.make_tensor_value_info(node.output[0], kind.elem_type, shape)
    graph = helper.make_graph([node], "one", values, [output])
    model = view.model
    single = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    results: Any = ReferenceEvaluator(single).run(None, inputs)
    return np.asarray(results[0], helper.tensor_dtype_to_np_dtype(kind.elem_type))


def require_whole(model: ModelProto, name: str) -> ModelProto:
    """Returns ``model`` if it holds all of its weights.

    Raises: ExportError: external data, or a graph in a node (If, Loop), which no target rewrites.
    """
    graph = model.graph
    outside = [tensor.name for tensor in graph.initializer if uses_external_data(tensor)]
    sparse = (entry.values for entry in graph.sparse_initializer)
    outside += [values.name for values in sparse if uses_external_data(values)]
    kinds = {AttributeProto.GRAPH, AttributeProto.GRAPHS}
    nested = [node for node in graph.node if kinds & {entry.type for entry in node.attribute}]
    if outside or nested:
        inside = [f"a graph inside {node.op_type} {node.name}" for node in nested]
        got = f"external data in {outside[0]}" if outside else inside[0]
        expected = "one self-contained file without control flow"
        raise ExportError(f"{name} cannot be exported further", got=got, expected=expected)
    return model
