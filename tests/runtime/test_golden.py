"""``verify`` names the first step that differs."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from manifests import manifest_of
from tiny_bundles import SPEC, float_model, make_bundle, photo

from export.bundle.huggingface import rename_input
from runtime import BundleError, golden
from runtime.__main__ import main


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "bundle"))


def reseal(bundle: Path) -> None:
    """Makes the manifest agree with changed files: another build, not damage."""
    manifest = manifest_of(bundle)
    for name in manifest["files"]:
        data = (bundle / name).read_bytes()
        manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def first(bundle: Path) -> str | None:
    step = golden.first_difference(golden.verify(bundle, threads=1))
    return step and step.name


def test_all_steps_are_ok(bundle: Path) -> None:
    steps = golden.verify(bundle, threads=1)
    names = [
        "files",
        "config.json",
        "decoded",
        "cropped",
        "normalised",
        "logits fp32",
        "logits int8",
        "logits onnx/model.onnx",
        "logits onnx/model_quantized.onnx",
    ]
    assert [(step.name, step.state) for step in steps] == [(name, "ok") for name in names]


def test_damaged_file_ends_at_files(bundle: Path) -> None:
    (bundle / "labels.txt").write_text("changed")
    (step,) = golden.verify(bundle)
    assert (step.name, step.state) == ("files", "differs") and "labels.txt" in step.detail


@pytest.mark.parametrize(
    ("change", "step"),
    [({"interpolation": "bilinear"}, "cropped"), ({"mean": [0.5, 0.5, 0.5]}, "normalised")],
)
def test_changed_preprocessing_is_named(bundle: Path, change: dict, step: str) -> None:
    values = json.loads((bundle / "preprocess.json").read_text())
    (bundle / "preprocess.json").write_text(json.dumps({**values, **change}))
    reseal(bundle)
    assert first(bundle) == step


def test_changed_decoder_is_named(bundle: Path, monkeypatch) -> None:
    real = golden.decode
    monkeypatch.setattr(
        golden, "decode", lambda data, max_pixels: real(data, max_pixels).rotate(180)
    )
    assert first(bundle) == "decoded"


def test_changed_weights_are_named(bundle: Path) -> None:
    float_model(bundle / "model.fp32.onnx", seed=5)
    reseal(bundle)
    assert first(bundle) == "logits fp32"


@pytest.mark.parametrize("name", ["onnx/model.onnx", "onnx/model_quantized.onnx"])
def test_changed_copies_for_other_loaders_are_named(bundle: Path, name: str) -> None:
    rename_input(float_model(bundle / "other.onnx", seed=5), bundle / name)
    (bundle / "other.onnx").unlink()
    reseal(bundle)
    assert first(bundle) == f"logits {name}"


def test_changed_classes_for_other_loaders_are_named(bundle: Path) -> None:
    config = json.loads((bundle / "config.json").read_text())
    for broken in ({**config, "id2label": dict(zip("0123", "abcd", strict=True))}, {}, []):
        (bundle / "config.json").write_text(json.dumps(broken))
        reseal(bundle)
        assert first(bundle) == "config.json"


def test_a_model_that_reaches_outside_is_named(bundle: Path) -> None:
    model = onnx.load(bundle / "model.fp32.onnx")
    model.graph.node.add(op_type="Evil", domain="my.ops")
    (bundle / "model.fp32.onnx").write_bytes(model.SerializeToString())
    reseal(bundle)
    step = golden.first_difference(golden.verify(bundle, threads=1))
    assert step is not None and step.name == "logits fp32" and "my.ops" in step.detail


def test_every_step_that_can_differ_has_a_remedy(bundle: Path) -> None:
    for step in golden.verify(bundle, threads=1):
        assert step.remedy is None and golden.GoldenStep(step.name, "differs", "").remedy


def test_the_command_names_the_first_step_and_its_remedy(bundle: Path, capsys) -> None:
    values = json.loads((bundle / "preprocess.json").read_text())
    (bundle / "preprocess.json").write_text(json.dumps({**values, "interpolation": "bilinear"}))
    reseal(bundle)
    assert main(["verify", str(bundle), "--threads", "1"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"first difference: cropped. {golden.REMEDIES['cropped']}"
    assert main(["verify", str(bundle), "--threads", "1", "--json"]) == 1
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (
        rows["cropped"]["remedy"] == golden.REMEDIES["cropped"]
        and rows["decoded"]["remedy"] is None
    )


def test_another_version_asks_for_an_upgrade_not_for_a_copy(bundle: Path) -> None:
    manifest = manifest_of(bundle)
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    (step,) = golden.verify(bundle, threads=1)
    assert step.remedy == "pip install --upgrade clip2edge"


def broken_vectors() -> dict[str, dict[str, np.ndarray | None]]:
    """Changes of golden.npz that are still arrays; None takes one away."""
    return {
        "no images": {"decoded": np.zeros(0, "<U64")},
        "another count": {"cropped": np.array(["0" * 64])},
        "no hashes": {"normalised": np.array(["x", "y"])},
        "a number": {"decoded": np.zeros((), np.float32)},
        "hashes gone": {"decoded": None},
        "image gone": {"img_1": None},
        "image of floats": {"img_0": np.zeros(3, np.float32)},
        "logits of one image": {"logits.fp32": np.zeros((1, 4), np.float32)},
        "logits not finite": {"logits.fp32": np.full((2, 4), np.nan, np.float32)},
        "empty logits": {"logits.int8": np.zeros((2, 0), np.float32)},
    }


@pytest.mark.parametrize("change", broken_vectors().values(), ids=broken_vectors())
def test_vectors_that_are_none_end_at_files(
    bundle: Path, change: dict[str, np.ndarray | None]
) -> None:
    arrays = {**golden.read(bundle / "golden.npz"), **change}
    golden.write(
        bundle / "golden.npz", {name: array for name, array in arrays.items() if array is not None}
    )
    reseal(bundle)
    (step,) = golden.verify(bundle, threads=1)
    assert step.name == "files" and "no golden vectors" in step.detail


def test_images_that_are_too_large_together_are_refused(bundle: Path, monkeypatch) -> None:
    monkeypatch.setattr(golden, "MAX_PIXELS", 48 * 40 + 100)  # two images of 48 x 40
    step = golden.first_difference(golden.verify(bundle, threads=1))
    assert step is not None and step.name == "decoded" and "too large" in step.detail


def test_absent_engine_is_skipped_not_ok(bundle: Path) -> None:
    states = {step.name: step.state for step in golden.verify(bundle, backend="abacus", threads=1)}
    assert states["logits fp32"] == states["logits int8"] == "skipped"
    assert states["logits onnx/model.onnx"] == "ok"  # onnxruntime runs it all the same


def test_bundle_without_golden_vectors_is_skipped(bundle: Path) -> None:
    manifest = manifest_of(bundle)
    del manifest["files"]["golden.npz"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert [step.state for step in golden.verify(bundle)] == ["ok", "ok", "skipped"]


def test_written_bytes_depend_on_the_arrays_alone(tmp_path: Path) -> None:
    arrays = golden.make([photo()], SPEC, {"fp32": lambda tensor: tensor.mean(axis=(2, 3))})
    golden.write(tmp_path / "a.npz", arrays)
    golden.write(tmp_path / "b.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = golden.read(tmp_path / "a.npz")
    assert set(back) == set(arrays) and all(
        np.array_equal(back[name], arrays[name]) for name in arrays
    )


def test_pickles_and_bombs_are_refused(tmp_path: Path, monkeypatch) -> None:
    np.savez(tmp_path / "p.npz", decoded=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BundleError, match="p.npz cannot be read"):
        golden.read(tmp_path / "p.npz")
    golden.write(tmp_path / "b.npz", {"x": np.zeros(1000)})
    monkeypatch.setattr("runtime.files.golden_npz.MAX_BYTES", 1000)
    with pytest.raises(BundleError, match="too large"):
        golden.read(tmp_path / "b.npz")
    (tmp_path / "t.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(BundleError, match="t.npz cannot be read"):
        golden.read(tmp_path / "t.npz")


def test_no_image_is_refused() -> None:
    with pytest.raises(BundleError, match="images"):
        golden.make([], SPEC, {})


def test_features_are_golden_too(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "made", tmp_path, features=True)
    steps = {step.name: step for step in golden.verify(bundle, threads=1)}
    names = ("fp32", "int8", "onnx/model.onnx", "onnx/model_quantized.onnx")
    assert {steps[f"features {name}"].state for name in names} == {golden.OK}
    arrays = golden.read(bundle / "golden.npz")
    turned = arrays["features.int8"][:, ::-1]
    golden.write(bundle / "golden.npz", {**arrays, "features.int8": turned})
    reseal(bundle)
    steps = {step.name: step for step in golden.verify(bundle, threads=1)}
    assert steps["logits int8"].state == steps["features fp32"].state == golden.OK
    wrong = steps["features int8"]
    assert wrong.state == golden.DIFFERS and "least cosine" in wrong.detail
    assert wrong.remedy is not None and "may err here" in wrong.remedy
    assert golden.compare_features("int8", None, turned).detail == f"got none, expected {(2, 32)}"
