"""Writing a bundle: deterministic, described, opened by the runtime before it counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from manifests import manifest_of
from tiny_bundles import LABELS, SPEC, encoded, float_model, make_bundle, photo

from compress.engine.errors import ExportError
from export.bundle.write import copy_with_metadata, seal, update_default, write_bundle, write_json
from runtime import BackendError, BundleError, Classifier, open_bundle
from runtime.golden import verify


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(
        tmp_path_factory.mktemp("built") / "bundle", tmp_path_factory.mktemp("scratch")
    )


def test_a_bundle_holds_the_listed_files_and_opens(bundle: Path) -> None:
    names = sorted(
        file.relative_to(bundle).as_posix() for file in bundle.rglob("*") if file.is_file()
    )
    assert names == [
        "README.md",
        "config.json",
        "golden.npz",
        "labels.json",
        "labels.txt",
        "manifest.json",
        "model.fp32.onnx",
        "model.int8.onnx",
        "onnx/model.onnx",
        "onnx/model_quantized.onnx",
        "preprocess.json",
        "preprocessor_config.json",
        "processor_config.json",
        "provenance.json",
    ]
    assert (bundle / "labels.txt").read_text() == "rose\niris\ndaisy\ntulip\n"
    assert json.loads((bundle / "labels.json").read_text())[1] == {**LABELS[1], "index": 1}
    assert set(manifest_of(bundle)["files"]) == set(names) - {"manifest.json"}


def test_same_inputs_same_bytes(bundle: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "again", tmp_path)
    for file in sorted(bundle.rglob("*")):
        if file.is_file():
            assert file.read_bytes() == (other / file.relative_to(bundle)).read_bytes(), file.name


def test_models_are_valid_onnx_and_describe_themselves(bundle: Path) -> None:
    for precision in ("fp32", "int8"):
        model = onnx.load(bundle / f"model.{precision}.onnx")
        onnx.checker.check_model(model)
        props = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(props["clip2edge.labels"]) == [label["name"] for label in LABELS]
        assert json.loads(props["clip2edge.preprocess"]) == SPEC.to_json()
        assert props["clip2edge.precision"] == precision


def test_description_that_is_there_is_kept_once(tmp_path: Path) -> None:
    source = float_model(tmp_path / "a.onnx")
    copy_with_metadata(source, tmp_path / "b.onnx", {"k": "v" * 300, "l": ""})
    copy_with_metadata(tmp_path / "b.onnx", tmp_path / "c.onnx", {"k": "v" * 300})
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "c.onnx").read_bytes()
    with pytest.raises(ExportError, match="another k"):
        copy_with_metadata(tmp_path / "b.onnx", tmp_path / "d.onnx", {"k": "w"})


def test_default_changes_only_the_manifest(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", tmp_path)
    before = {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
    manifest = update_default(folder, "fp32")
    changed = [name for name, data in before.items() if (folder / name).read_bytes() != data]
    assert changed == ["manifest.json"] and Classifier.load(folder, threads=1).precision == "fp32"
    write_json(folder / "manifest.json", {**manifest, "default_reason": "int8 is 0.9x as fast"})
    assert "default_reason" not in update_default(folder, "int8")
    assert (folder / "manifest.json").read_bytes() == before["manifest.json"]
    with pytest.raises(ExportError, match="fp32 or int8"):
        update_default(folder, "fp16")


def test_a_bundle_without_the_copies_for_other_loaders(tmp_path: Path) -> None:
    model = float_model(tmp_path / "m.onnx")
    folder = tmp_path / "b"
    write_bundle(
        folder, {"fp32": model}, SPEC, LABELS, {}, [photo()], "", "fp32", hugging_face=False
    )
    assert open_bundle(folder).twins == {} and not (folder / "config.json").exists()


def test_a_bad_manifest_never_replaces_a_good_one(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle", tmp_path)
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match="gone.onnx"):
        seal(folder, {"fp32": "gone.onnx"}, "fp32")
    assert (folder / "manifest.json").read_bytes() == before
    targets = {
        "fp32": {
            "file": "model.fp32.onnx",
            "state": "verified",
            "why": "it is the model",
            "parity": None,
        }
    }
    assert (
        seal(folder, {"fp32": "model.fp32.onnx"}, "fp32", targets, "it is the only one")["targets"]
        == targets
    )
    assert open_bundle(folder).manifest["default_reason"] == "it is the only one"


def test_golden_steps_hold(bundle: Path) -> None:
    assert {step.state for step in verify(bundle, threads=1)} == {"ok"}


@pytest.mark.parametrize(
    ("models", "default"), [({}, "int8"), ({"int4": "m"}, "int4"), ({"fp32": "m"}, "int8")]
)
def test_wrong_models_are_refused(tmp_path: Path, models: dict, default: str) -> None:
    with pytest.raises(ExportError):
        write_bundle(tmp_path / "b", models, SPEC, LABELS, {}, [photo()], "", default)
    assert not (tmp_path / "b").exists()


def test_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(ExportError, match="not empty"):
        write_bundle(tmp_path, {"fp32": Path("m")}, SPEC, LABELS, {}, [photo()], "", "fp32")


def test_failure_leaves_no_manifest(tmp_path: Path) -> None:
    model = float_model(tmp_path / "m.onnx")
    with pytest.raises(BundleError, match="golden"):
        write_bundle(tmp_path / "b", {"fp32": model}, SPEC, LABELS, {}, [], "", "fp32")
    with pytest.raises(BundleError, match="not a bundle"):
        open_bundle(tmp_path / "b")


def test_labels_of_any_language_survive(tmp_path: Path) -> None:
    labels = [{"name": name} for name in ("睡蓮", "Gänseblümchen", "a b", "🌷")]
    model = float_model(tmp_path / "m.onnx")
    write_bundle(tmp_path / "b", {"fp32": model}, SPEC, labels, {}, [encoded(photo())], "", "fp32")
    names = tuple(label["name"] for label in labels)
    assert Classifier.load(tmp_path / "b", threads=1).labels == names
    assert Classifier.load(tmp_path / "b" / "model.fp32.onnx", threads=1).labels == names


def test_json_without_nan_and_without_leftovers(tmp_path: Path) -> None:
    with pytest.raises(BackendError):
        write_json(tmp_path / "a.json", {"x": float(np.nan)})
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == '{\n  "a": "é",\n  "b": 1\n}\n'
