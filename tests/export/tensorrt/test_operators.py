"""What TensorRT's parser does not take: each rule on a model that breaks it, and on one that does
not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tiny_bundles import float_model

from export.tensorrt.operators import UNSUPPORTED
from export.tensorrt.rules import tensorrt_ready


@pytest.fixture
def model(tmp_path: Path) -> ModelProto:
    return onnx.load(float_model(tmp_path / "a.onnx"))


def insert(
    model: ModelProto, op_type: str, *more: str, outputs: int = 1, **attributes: object
) -> None:
    """Puts a node between the input and the first convolution."""
    made = [f"made{index}" for index in range(outputs)]
    model.graph.node.insert(
        0, helper.make_node(op_type, ["images", *more], made, "odd", **attributes)
    )
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    conv.input[0] = "made0"


def integer_product(model: ModelProto) -> None:
    insert(model, "MatMulInteger", "w1")


def uint8_without_cast(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def int8_input(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT8


def float64_weight(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3), "wide"))


def weights_elsewhere(model: ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def antialiased(model: ModelProto) -> None:
    insert(model, "Resize", "", "", "sizes", mode="linear", antialias=1)


def cubic(model: ModelProto) -> None:
    insert(model, "Resize", "", "", "sizes", mode="cubic")


def keeps_aspect(model: ModelProto) -> None:
    insert(model, "Resize", "", "", "sizes", mode="linear", keep_aspect_ratio_policy="not_smaller")


def dilated_pool(model: ModelProto) -> None:
    insert(model, "MaxPool", kernel_shape=[2, 2], dilations=[2, 2])


def pool_with_indices(model: ModelProto) -> None:
    insert(model, "MaxPool", kernel_shape=[2, 2], outputs=2)


def computed_axes(model: ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Shape", ["images"], ["axes"], "shape"))
    model.graph.node.append(helper.make_node("ReduceMean", ["images", "axes"], ["unused"], "mean"))


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (integer_product, "MatMulInteger odd: the parser has no MatMulInteger"),
        (
            uint8_without_cast,
            "input images is uint8 and goes into Conv conv1: only a Cast may take it",
        ),
        (int8_input, "input images is INT8, which no network takes"),
        (float64_weight, "wide is float64, which becomes float32"),
        (weights_elsewhere, "w1 lies in another file"),
        (antialiased, "Resize odd is antialiased"),
        (cubic, "Resize odd is cubic; the parser knows linear and nearest"),
        (keeps_aspect, "Resize odd has the aspect ratio policy not_smaller"),
        (dilated_pool, "MaxPool odd is dilated"),
        (pool_with_indices, "MaxPool odd returns indices"),
        (computed_axes, "ReduceMean mean reduces over axes that are computed"),
    ],
)
def test_each_rule_sees_what_breaks_it(
    model: ModelProto, breaks: Callable[[ModelProto], None], says: str
) -> None:
    assert tensorrt_ready(model) == []
    breaks(model)
    assert any(text.startswith(says) for text in tensorrt_ready(model)), tensorrt_ready(model)


def uint8_with_cast(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    insert(model, "Cast", to=TensorProto.FLOAT)


def plain_pool(model: ModelProto) -> None:
    insert(model, "MaxPool", kernel_shape=[2, 2], dilations=[1, 1])


def plain_resize(model: ModelProto) -> None:
    insert(model, "Resize", "", "", "sizes", mode="linear")


def stored_axes(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
    model.graph.node.append(helper.make_node("ReduceMean", ["images", "axes"], ["unused"], "mean"))


@pytest.mark.parametrize("keeps", [uint8_with_cast, plain_pool, plain_resize, stored_axes])
def test_no_rule_sees_what_keeps_it(model: ModelProto, keeps: Callable[[ModelProto], None]) -> None:
    keeps(model)
    assert tensorrt_ready(model) == []


def test_the_refused_operators_exist() -> None:
    known = {
        schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""
    }
    assert set(UNSUPPORTED) <= known
