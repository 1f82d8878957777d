"""The form for XNNPACK computes what the file computes, by onnxruntime's account."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tiny_bundles import SIZE, float_model, int8_model

from export.engines.xnnpack import fusible
from export.onnx.graph import GraphView


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    folder = tmp_path_factory.mktemp("tiny")
    file = int8_model(float_model(folder / "a.onnx", features=True), folder / "b.onnx")
    return onnx.load(str(file))


def outputs(model: ModelProto, images: np.ndarray) -> list[np.ndarray]:
    """What onnxruntime makes of the file as it is written, without a fusion of its own."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return list(session.run(None, {"images": images}))


def quantized(node: str) -> list[onnx.NodeProto]:
    """A quantizer of a tensor, and its dequantizer ``{node}_d``."""
    rest = ["scale", "point"]
    return [
        helper.make_node("QuantizeLinear", [node, *rest], [f"{node}_q"]),
        helper.make_node("DequantizeLinear", [f"{node}_q", *rest], [f"{node}_d"]),
    ]


def residual() -> ModelProto:
    """images + conv(images), reshaped, then a last product whose outputs are not rounded."""
    rng = np.random.default_rng(0)

    def steps(name: str, *shape: int) -> list[TensorProto]:
        values = rng.integers(-127, 128, shape).astype(np.int8)
        scales = rng.uniform(0.001, 0.004, shape[0]).astype(np.float32)
        points = np.zeros(shape[0], np.int8)
        pairs = ((name, values), (f"{name}_s", scales), (f"{name}_z", points))
        return [numpy_helper.from_array(value, one) for one, value in pairs]

    def weights(name: str) -> onnx.NodeProto:
        given = [name, f"{name}_s", f"{name}_z"]
        return helper.make_node("DequantizeLinear", given, [f"{name}_d"], axis=0)

    nodes = [
        *quantized("images"),
        weights("w"),
        weights("last"),
        helper.make_node("Conv", ["images_d", "w_d"], ["conv"], pads=[1, 1, 1, 1]),
        *quantized("conv"),
        helper.make_node("Add", ["images_d", "conv_d"], ["add"]),
        helper.make_node("Relu", ["add"], ["relu"]),
        helper.make_node("Reshape", ["relu", "shape"], ["row"]),
        *quantized("row"),
        helper.make_node("Gemm", ["row_d", "last_d"], ["logits"], transB=1),
    ]
    constants = [
        numpy_helper.from_array(np.float32(0.03), "scale"),
        numpy_helper.from_array(np.uint8(128), "point"),
        numpy_helper.from_array(np.array([0, -1]), "shape"),
        *steps("w", 3, 3, 3, 3),
        *steps("last", 4, 3 * 8 * 8),
    ]
    of = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "residual",
        [of("images", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [of("logits", TensorProto.FLOAT, ["n", 4])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def test_it_computes_the_same(tiny: ModelProto) -> None:
    rng = np.random.default_rng(1)
    for model, size in ((tiny, SIZE), (residual(), 8)):
        before = model.SerializeToString()
        images = rng.normal(size=(4, 3, size, size)).astype(np.float32)
        for ours, theirs in zip(
            outputs(fusible(model), images), outputs(model, images), strict=True
        ):
            assert np.abs(ours - theirs).max() <= 1e-6 * np.ptp(theirs)
        assert model.SerializeToString() == before, "the source stays as it is"


def test_no_two_consumers_share_a_dequantizer() -> None:
    model = residual()
    assert len(GraphView(model).consumers["images_d"]) == 2
    view = GraphView(fusible(model))
    shared = {
        node.output[0]: len(view.consumers[node.output[0]])
        for node in view.model.graph.node
        if node.op_type == "DequantizeLinear"
    }
    assert set(shared.values()) == {1}


def test_weights_stay_int8_where_a_quantizer_follows_and_become_float_where_none_does() -> None:
    view = GraphView(fusible(residual()))
    conv, gemm = (
        next(node for node in view.model.graph.node if node.op_type == kind)
        for kind in ("Conv", "Gemm")
    )
    assert view.produced_by(conv.input[1], "DequantizeLinear")
    assert view.constant(gemm.input[1]).dtype == np.float32
    assert "last" not in view.initializers, "what is not used any more is not written"


def test_a_product_before_a_reshape_meets_its_quantizer() -> None:
    view = GraphView(fusible(residual()))
    (reshape,) = (node for node in view.model.graph.node if node.op_type == "Reshape")
    steps = view.produced_by(reshape.input[0], "DequantizeLinear")
    assert steps is not None
    quantizer = view.produced_by(steps.input[0], "QuantizeLinear")
    assert quantizer is not None and quantizer.input[0] == "relu"


def test_biases_are_float32(tiny: ModelProto) -> None:
    view = GraphView(fusible(tiny))
    convs = [node for node in view.model.graph.node if node.op_type == "Conv"]
    assert len(convs) == 2
    assert all(view.constant(node.input[2]).dtype == np.float32 for node in convs)
    assert all(view.produced_by(node.input[1], "DequantizeLinear") for node in convs)


def test_a_graph_without_quantizers_stays_as_it_is(tmp_path: Path) -> None:
    model = onnx.load(str(float_model(tmp_path / "a.onnx")))
    assert [node.op_type for node in fusible(model).graph.node] == [
        node.op_type for node in model.graph.node
    ]
