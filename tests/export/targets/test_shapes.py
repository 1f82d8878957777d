from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from small_graphs import chain, run
from tiny_bundles import SIZE, SPEC

from compress.engine.errors import ExportError
from export.targets import shapes
from runtime import normalize


def test_a_fixed_batch_computes_shape_arithmetic_and_leaves_weights_quantized(int8, batch) -> None:
    tensor = normalize(batch[:1], SPEC)
    one = shapes.with_batch(int8, 1)
    assert [dim.dim_value for dim in one.graph.input[0].type.tensor_type.shape.dim] == [
        1,
        3,
        SIZE,
        SIZE,
    ]
    assert sum(n.op_type == "DequantizeLinear" for n in one.graph.node) == sum(
        n.op_type == "DequantizeLinear" for n in int8.graph.node
    )
    assert np.array_equal(run(one, tensor), run(int8, tensor))
    dynamic = chain(
        helper.make_node("Shape", ["images"], ["count"], "shape", end=1),
        helper.make_node("Concat", ["count", "rest"], ["to"], "concat", axis=0),
        helper.make_node("Reshape", ["images", "to"], ["logits"], "reshape"),
        constants={"rest": np.array([48], np.int64)},
    )
    fixed = shapes.with_batch(dynamic, 1)
    assert [node.op_type for node in fixed.graph.node] == ["Reshape"]
    values = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
    assert np.array_equal(run(fixed, values), values.reshape(1, 48))
    assert [node.op_type for node in dynamic.graph.node] == [
        "Shape",
        "Concat",
        "Reshape",
    ]  # the source is not touched


def test_shapes_that_contradict_each_other_are_refused(fp32) -> None:
    broken = ModelProto()
    broken.CopyFrom(fp32)
    broken.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 99
    with pytest.raises(ExportError, match="contradict"):
        shapes.infer(broken)


def test_external_data_and_control_flow_are_refused(fp32) -> None:
    outside = ModelProto()
    outside.CopyFrom(fp32)
    outside.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(ExportError, match="external data in"):
        shapes.require_whole(outside, "fp32")
    branch = ModelProto()
    branch.CopyFrom(fp32)
    branch.graph.node[0].attribute.append(
        helper.make_attribute("body", helper.make_graph([], "g", [], []))
    )
    with pytest.raises(ExportError, match="a graph inside"):
        shapes.require_whole(branch, "fp32")
    assert shapes.require_whole(fp32, "fp32") is fp32
