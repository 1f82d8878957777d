"""Models with further classes: the same bytes but for what was added, and the logits of numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from tiny_bundles import LABELS, SIZE, float_model, int8_model

from export.bundle.write import copy_with_metadata
from runtime.classifier import META_LABELS
from runtime.errors import BundleError
from runtime.files.onnx import check
from runtime.learning.widened import can_widen, widen

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(2, 32)).astype(np.float32)
OFFSETS = np.array([0.5, -1.5], np.float32)
IMAGES = RNG.normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("model")
    fp32 = float_model(scratch / "fp32.onnx", features=True)
    return fp32 if request.param == "fp32" else int8_model(fp32, scratch / "int8.onnx")


def run(file: Path) -> tuple[np.ndarray, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options)
    logits, features = session.run(["logits", "features"], {"images": IMAGES})
    return logits, features


def test_the_new_classes_stand_behind_the_old_ones(model: Path, tmp_path: Path) -> None:
    assert can_widen(model)
    widen(model, tmp_path / "wide.onnx", ROWS, OFFSETS, {})
    onnx.checker.check_model(onnx.load(tmp_path / "wide.onnx"), full_check=True)
    before, features = run(model)
    after, same = run(tmp_path / "wide.onnx")
    assert np.array_equal(same, features) and np.array_equal(after[:, : len(LABELS)], before)
    np.testing.assert_allclose(after[:, len(LABELS) :], features @ ROWS.T + OFFSETS, rtol=1e-5)
    width = onnx.load(tmp_path / "wide.onnx").graph.output[0].type.tensor_type.shape.dim[1]
    assert width.dim_value == len(LABELS) + 2


def test_a_class_after_another(model: Path, tmp_path: Path) -> None:
    widen(model, tmp_path / "one.onnx", ROWS[:1], OFFSETS[:1], {})
    widen(tmp_path / "one.onnx", tmp_path / "two.onnx", ROWS[1:], OFFSETS[1:], {})
    widen(model, tmp_path / "both.onnx", ROWS, OFFSETS, {})
    np.testing.assert_allclose(
        run(tmp_path / "two.onnx")[0], run(tmp_path / "both.onnx")[0], rtol=1e-5, atol=1e-5
    )


def test_the_same_bytes_each_time_and_metadata_that_change(model: Path, tmp_path: Path) -> None:
    copy_with_metadata(model, tmp_path / "told.onnx", {META_LABELS: '["a"]', "clip2edge.x": "y"})
    for name in ("a", "b"):
        changed = {META_LABELS: '["a", "b"]', "absent": "is not added"}
        widen(tmp_path / "told.onnx", tmp_path / name, ROWS, OFFSETS, changed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    metadata = check(tmp_path / "a").metadata
    assert json.loads(metadata[META_LABELS]) == ["a", "b"]
    assert metadata["clip2edge.x"] == "y" and "absent" not in metadata


def test_a_name_that_is_taken_is_not_taken_twice(tmp_path: Path) -> None:
    file = float_model(tmp_path / "m.onnx", features=True)
    loaded = onnx.load(file)
    taken = f"logits.{len(LABELS)}"
    for node in loaded.graph.node:
        for names in (node.input, node.output):
            names[:] = [taken if name == "f" else name for name in names]
    onnx.save(loaded, file)
    widen(file, tmp_path / "wide.onnx", ROWS, OFFSETS, {})
    assert run(tmp_path / "wide.onnx")[0].shape == (3, len(LABELS) + 2)


def test_an_open_width_stays_open(tmp_path: Path) -> None:
    file = float_model(tmp_path / "m.onnx", features=True)
    loaded = onnx.load(file)
    loaded.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "classes"
    onnx.save(loaded, file)
    widen(file, tmp_path / "wide.onnx", ROWS, OFFSETS, {})
    assert run(tmp_path / "wide.onnx")[0].shape == (3, len(LABELS) + 2)


def test_what_cannot_take_a_class(tmp_path: Path) -> None:
    plain = float_model(tmp_path / "plain.onnx")
    assert not can_widen(plain)
    with pytest.raises(BundleError, match="no float32 output 'features'.*compress build"):
        widen(plain, tmp_path / "wide.onnx", ROWS, OFFSETS, {})
    file = float_model(tmp_path / "m.onnx", features=True)
    with pytest.raises(BundleError, match="got rows of 31 · expected rows of 32"):
        widen(file, tmp_path / "wide.onnx", ROWS[:, :31], OFFSETS, {})
    half = onnx.load(file)
    half.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    onnx.save(half, tmp_path / "half.onnx")
    assert not can_widen(tmp_path / "half.onnx")
    (tmp_path / "cut.onnx").write_bytes(file.read_bytes()[:-40])
    for damaged in (tmp_path / "cut.onnx", tmp_path / "gone.onnx"):
        with pytest.raises(BundleError):
            can_widen(damaged)
    data = bytearray(file.read_bytes())
    at = data.index(b"\x62", data.rindex(b"\x0a\x08features") - 4)  # field 12 of the graph
    data[at + 1] ^= 0x3F  # its length
    (tmp_path / "odd.onnx").write_bytes(data)
    with pytest.raises(BundleError):
        widen(tmp_path / "odd.onnx", tmp_path / "wide.onnx", ROWS, OFFSETS, {})
    assert not (tmp_path / "wide.onnx").exists()
