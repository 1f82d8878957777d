"""Constants that ask for more memory than any model needs are refused unread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from odd_models import endless_loop, growing
from onnx import helper, numpy_helper
from tiny_bundles import float_model

from runtime import BundleError
from runtime.files.onnx import check
from runtime.files.onnx_sizes import varints

HUGE = {
    "Expand": ([2**20, 2**20], np.int64),
    "ConstantOfShape": ([2**40], np.int64),
    "Tile": ([2**12, 2**12], np.int64),
    "Pad": ([0, 0, 2**20, 2**20], np.int64),
    "Range": ([0.0, 1e12, 1.0], np.float32),
}


@pytest.fixture
def model(tmp_path: Path) -> onnx.ModelProto:
    return onnx.load(float_model(tmp_path / "m.onnx"))


def refused(model: onnx.ModelProto, folder: Path, match: str) -> None:
    (folder / "n.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=f"may take any time or memory.*{match}"):
        check(folder / "n.onnx")


@pytest.mark.parametrize("op", HUGE)
def test_a_giant_result_is_refused(op: str, model: onnx.ModelProto, tmp_path: Path) -> None:
    growing(op, *HUGE[op])(model)
    refused(model, tmp_path, op)


def test_a_size_in_a_constant_node_is_seen(model: onnx.ModelProto, tmp_path: Path) -> None:
    size = numpy_helper.from_array(np.array([2**40]))
    model.graph.node.append(helper.make_node("Constant", [], ["size"], value=size))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["huge"]))
    refused(model, tmp_path, "ConstantOfShape")


def test_loops_and_random_numbers_are_refused(model: onnx.ModelProto, tmp_path: Path) -> None:
    endless_loop(model)
    refused(model, tmp_path, "Loop")
    model.graph.node.append(helper.make_node("RandomNormal", [], ["r"], shape=[2]))
    refused(model, tmp_path, "RandomNormal")


def test_a_giant_border_is_refused(model: onnx.ModelProto, tmp_path: Path) -> None:
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [10**6] * 4
    refused(model, tmp_path, "pads")


def test_a_shape_beyond_the_data_is_refused(model: onnx.ModelProto, tmp_path: Path) -> None:
    model.graph.initializer[0].dims[:] = [2**40]
    refused(model, tmp_path, "a tensor of 1099511627776 in")


def test_usual_sizes_pass(model: onnx.ModelProto, tmp_path: Path) -> None:
    growing("Expand", [1, 1, 768])(model)
    (tmp_path / "n.onnx").write_bytes(model.SerializeToString())
    check(tmp_path / "n.onnx")


def test_packed_numbers_have_signs() -> None:
    minus_one = memoryview(b"\xff" * 9 + b"\x01")
    assert varints(minus_one) == [-1] and varints(memoryview(b"\x05\x80\x01")) == [5, 128]
    with pytest.raises(ValueError, match="too long"):
        varints(memoryview(b"\xff" * 100))
