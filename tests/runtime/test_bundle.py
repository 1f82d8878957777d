"""A bundle is refused unless every byte is the one that was built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from manifests import manifest_of
from tiny_bundles import SPEC

from runtime import BundleError, Classifier, open_bundle
from runtime.bundle import check_file, labels_from_json, parse_json, sha256_of


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "bundle"))


def rewrite(bundle: Path, **changes: object) -> None:
    manifest = manifest_of(bundle)
    (bundle / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_a_bundle_opens_with_its_labels_and_models(bundle: Path) -> None:
    opened = open_bundle(bundle)
    assert [label.name for label in opened.labels] == ["rose", "iris", "daisy", "tulip"]
    assert opened.labels[0].prompt == "a photo of a rose."
    assert opened.preprocess == SPEC
    assert opened.model("auto") == bundle / "model.int8.onnx"
    with pytest.raises(BundleError, match="fp32"):
        opened.model("int4")


def test_every_changed_byte_is_seen(bundle: Path) -> None:
    for file in sorted(bundle.rglob("*")):
        if file.name == "manifest.json" or file.is_dir():
            continue
        original = file.read_bytes()
        changed = bytearray(original)
        changed[len(changed) // 2] ^= 1
        file.write_bytes(changed)
        want = manifest_of(bundle)["files"][file.relative_to(bundle).as_posix()]["sha256"]
        with pytest.raises(BundleError) as caught:
            open_bundle(bundle)
        for part in (file.name, sha256_of(file), want):
            assert part in str(caught.value)
        file.write_bytes(original)
    open_bundle(bundle)


def test_size_is_compared_even_without_verify(bundle: Path) -> None:
    with open(bundle / "labels.txt", "ab") as stream:
        stream.write(b"x")
    with pytest.raises(BundleError, match="labels.txt has changed"):
        open_bundle(bundle, verify=False)


def test_missing_file_and_no_bundle(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.fp32.onnx").unlink()
    with pytest.raises(BundleError, match="model.fp32.onnx is missing"):
        open_bundle(bundle)
    with pytest.raises(BundleError, match="is not a bundle"):
        open_bundle(tmp_path / "nothing")


def test_the_folder_of_a_run_stands_for_its_bundle(bundle: Path) -> None:
    run = bundle.parent
    assert open_bundle(run) == open_bundle(bundle)
    assert Classifier.load(str(run)).sha256 == Classifier.load(bundle).sha256
    shutil.copy(bundle / "manifest.json", run)  # a bundle that holds another is itself one
    with pytest.raises(BundleError, match="is missing"):
        open_bundle(run)


def test_links_stay_inside(bundle: Path, tmp_path: Path) -> None:
    outside, file = tmp_path / "outside.txt", bundle / "labels.txt"
    outside.write_bytes(file.read_bytes())
    file.rename(bundle / "onnx.txt")
    file.symlink_to("onnx.txt")
    open_bundle(bundle)
    file.unlink()
    file.symlink_to(outside)
    with pytest.raises(BundleError, match="leaves the bundle"):
        open_bundle(bundle)
    file.unlink()
    file.symlink_to(file)
    with pytest.raises(BundleError, match="labels.txt is missing"):
        open_bundle(bundle)


def test_a_linked_subfolder_stays_inside(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.onnx").write_bytes(b"x")
    shutil.rmtree(bundle / "onnx", ignore_errors=True)
    (bundle / "onnx").symlink_to(tmp_path / "elsewhere")
    files = manifest_of(bundle)["files"]
    kept = {name: want for name, want in files.items() if not name.startswith("onnx/")}
    digest = sha256_of(tmp_path / "elsewhere" / "model.onnx")
    rewrite(bundle, files={**kept, "onnx/model.onnx": {"bytes": 1, "sha256": digest}})
    with pytest.raises(BundleError, match="leaves the bundle"):
        open_bundle(bundle)


def test_large_json_is_refused_unread(bundle: Path, monkeypatch) -> None:
    monkeypatch.setattr("runtime.files.strict_json.MAX_JSON_BYTES", 10)
    with pytest.raises(BundleError, match="too large"):
        open_bundle(bundle)
    with pytest.raises(BundleError, match="too large"):
        parse_json('"0123456789"', "x")


@pytest.mark.parametrize(
    "rows",
    [
        [],
        {},
        [""],
        [{"name": 3}],
        ["a", "a"],
        [{"name": "a", "synonyms": "b"}],
        [{"name": "a", "index": 1}],
        [None],
    ],
)
def test_bad_labels(rows: object) -> None:
    with pytest.raises(BundleError):
        labels_from_json(rows)


def test_labels_of_both_forms() -> None:
    assert [
        label.name for label in labels_from_json(["a", {"name": "b", "synonyms": ["c"], "more": 1}])
    ] == ["a", "b"]


def test_directory_in_place_of_a_file(bundle: Path) -> None:
    (bundle / "README.md").unlink()
    (bundle / "README.md").mkdir()
    with pytest.raises(BundleError, match=r"README\.md is missing"):
        check_file(bundle, "README.md", {"bytes": 1, "sha256": "0" * 64})
