"""``verify`` names the first step that differs."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_bundles import SPEC, float_model, make_bundle, photo

from runtime import BundleError, golden


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("built") / "bundle", tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "bundle"))


def reseal(bundle: Path) -> None:
    """Makes the manifest agree with changed files: another build, not damage."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in manifest["files"]:
        data = (bundle / name).read_bytes()
        manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def first(bundle: Path) -> str | None:
    step = golden.first_difference(golden.verify(bundle, threads=1))
    return step and step.name


def test_all_steps_are_ok(bundle: Path) -> None:
    steps = golden.verify(bundle, threads=1)
    names = ["files", "decoded", "cropped", "normalised", "logits fp32", "logits int8"]
    assert [(step.name, step.state) for step in steps] == [(name, "ok") for name in names]


def test_damaged_file_ends_at_files(bundle: Path) -> None:
    (bundle / "labels.txt").write_text("changed")
    (step,) = golden.verify(bundle)
    assert (step.name, step.state) == ("files", "differs") and "labels.txt" in step.detail


@pytest.mark.parametrize(
    ("change", "step"), [({"interpolation": "bilinear"}, "cropped"), ({"mean": [0.5, 0.5, 0.5]}, "normalised")]
)
def test_changed_preprocessing_is_named(bundle: Path, change: dict, step: str) -> None:
    values = json.loads((bundle / "preprocess.json").read_text())
    (bundle / "preprocess.json").write_text(json.dumps({**values, **change}))
    reseal(bundle)
    assert first(bundle) == step


def test_changed_decoder_is_named(bundle: Path, monkeypatch) -> None:
    real = golden.decode
    monkeypatch.setattr(golden, "decode", lambda data: real(data).rotate(180))
    assert first(bundle) == "decoded"


def test_changed_weights_are_named(bundle: Path) -> None:
    float_model(bundle / "model.fp32.onnx", seed=5)
    reseal(bundle)
    assert first(bundle) == "logits fp32"


def test_absent_engine_is_skipped_not_ok(bundle: Path) -> None:
    assert [step.state for step in golden.verify(bundle, backend="abacus")][-2:] == ["skipped", "skipped"]


def test_bundle_without_golden_vectors_is_skipped(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["files"]["golden.npz"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert [step.state for step in golden.verify(bundle)] == ["ok", "skipped"]


def test_written_bytes_depend_on_the_arrays_alone(tmp_path: Path) -> None:
    arrays = golden.make([photo()], SPEC, {"fp32": lambda tensor: tensor.mean(axis=(2, 3))})
    golden.write(tmp_path / "a.npz", arrays)
    golden.write(tmp_path / "b.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = golden.read(tmp_path / "a.npz")
    assert set(back) == set(arrays) and all(np.array_equal(back[name], arrays[name]) for name in arrays)


def test_pickles_and_bombs_are_refused(tmp_path: Path, monkeypatch) -> None:
    np.savez(tmp_path / "p.npz", decoded=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BundleError, match="p.npz cannot be read"):
        golden.read(tmp_path / "p.npz")
    golden.write(tmp_path / "b.npz", {"x": np.zeros(1000)})
    monkeypatch.setattr(golden, "MAX_BYTES", 1000)
    with pytest.raises(BundleError, match="too large"):
        golden.read(tmp_path / "b.npz")
    (tmp_path / "t.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(BundleError, match="t.npz cannot be read"):
        golden.read(tmp_path / "t.npz")


def test_no_image_is_refused() -> None:
    with pytest.raises(BundleError, match="images"):
        golden.make([], SPEC, {})
