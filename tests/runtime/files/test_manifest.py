"""manifest.json: damaged, unsafe, inconsistent or of another schema is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from manifests import manifest_of

from export.bundle.write import seal
from runtime import BundleError, open_bundle
from runtime.files.manifest import CHECK


def rewrite(bundle: Path, **changes: object) -> None:
    manifest = manifest_of(bundle)
    (bundle / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_another_digit_in_a_threshold_is_told(bundle: Path) -> None:
    confidence = {"temperature": {"models": {"int8": 1.62}, "fitted_on": "images", "n": 40}}
    seal(bundle, {"int8": "model.int8.onnx"}, "int8", confidence=confidence)
    assert CHECK not in open_bundle(bundle).manifest
    text = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(text.replace("1.62", "1.72"))
    with pytest.raises(BundleError, match=r"manifest.json is damaged.*copy the bundle again"):
        open_bundle(bundle)


def test_a_manifest_without_a_check_is_read(bundle: Path) -> None:
    rewrite(bundle, note="bundles of before have none")
    assert open_bundle(bundle).manifest["note"]


@pytest.mark.parametrize(
    "text", ["", "{", '{"schema": 1, "schema": 1}', '{"schema": NaN}', "[" * 100_000, "[]"]
)
def test_a_damaged_manifest_is_refused(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match="manifest"):
        open_bundle(bundle)


def test_a_truncated_manifest_is_refused(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(text[: len(text) // 2])
    with pytest.raises(BundleError, match="manifest.json is not valid JSON"):
        open_bundle(bundle)


def test_future_schema_asks_for_an_upgrade(bundle: Path) -> None:
    rewrite(bundle, schema=4)
    with pytest.raises(BundleError, match="newer clip2edge.*got schema 4.*upgrade"):
        open_bundle(bundle)


def test_a_subfolder_and_ort_files_need_schema_2(bundle: Path) -> None:
    for name in ("onnx/model.onnx", "model.ort"):
        (bundle / name).write_bytes(b"x")
    seal(bundle, {"int8": "model.int8.onnx"}, "int8")
    assert {"onnx/model.onnx", "model.ort"} < set(open_bundle(bundle).manifest["files"])
    rewrite(bundle, schema=1)
    with pytest.raises(BundleError, match="file name"):
        open_bundle(bundle)


def test_files_of_further_engines_need_schema_3(bundle: Path) -> None:
    for name in ("model.int8.openvino.xml", "model.int8.openvino.bin"):
        (bundle / name).write_bytes(b"x")
    target = {**TARGET, "file": "model.int8.openvino.xml"}
    models = {"int8": "model.int8.onnx"}
    assert seal(bundle, models, "int8", {"int8.openvino": target})["schema"] == 3
    opened = open_bundle(bundle)
    names = [part.name for part in opened.parts(opened.model("int8.openvino"))]
    assert names == ["model.int8.openvino.xml", "model.int8.openvino.bin"]
    rewrite(bundle, schema=2)
    with pytest.raises(BundleError, match=r"file name 'model.int8.openvino.bin'"):
        open_bundle(bundle)


def test_a_graph_without_its_weights_is_refused(bundle: Path) -> None:
    (bundle / "model.fp32.openvino.xml").write_bytes(b"x")
    target = {**TARGET, "file": "model.fp32.openvino.xml"}
    with pytest.raises(BundleError, match=r"without its 'model.fp32.openvino.bin'"):
        seal(bundle, {"int8": "model.int8.onnx"}, "int8", {"fp32.openvino": target})


def test_schema_1_is_read(bundle: Path) -> None:
    shutil.rmtree(bundle / "onnx", ignore_errors=True)
    seal(bundle, {"int8": "model.int8.onnx"}, "int8")
    rewrite(bundle, schema=1)
    opened = open_bundle(bundle)
    assert opened.targets == {} and opened.twins == {} and opened.default == "int8"


TARGET = {
    "file": "model.fp32.onnx",
    "state": "verified",
    "why": "same top-1",
    "parity": {"agreement": 1.0},
}


def test_targets_are_part_of_the_manifest(bundle: Path) -> None:
    rewrite(
        bundle,
        targets={"fp32": TARGET, "int8.u8in": {**TARGET, "state": "unverified", "parity": None}},
    )
    assert open_bundle(bundle).targets["int8.u8in"]["state"] == "unverified"


@pytest.mark.parametrize(
    "targets",
    [
        [],
        {"fp32": "x"},
        {"": TARGET},
        {"../x": TARGET},
        {"fp32": {**TARGET, "file": "gone.onnx"}},
        {"fp32": {**TARGET, "file": "labels.json"}},
        {"fp32": {**TARGET, "file": ["model.fp32.onnx"]}},
        {"fp32": {**TARGET, "state": "perhaps"}},
        {"fp32": {**TARGET, "state": []}},
        {"fp32": {**TARGET, "why": None}},
        {"fp32": {**TARGET, "parity": 1}},
        {f"t{n}": TARGET for n in range(300)},
    ],
)
def test_broken_targets_are_refused(bundle: Path, targets: object) -> None:
    rewrite(bundle, targets=targets)
    with pytest.raises(BundleError, match="is not usable.*target"):
        open_bundle(bundle)


@pytest.mark.parametrize("schema", [None, 0, "1", True, 1.0])
def test_a_manifest_without_a_schema_is_refused(bundle: Path, schema: object) -> None:
    rewrite(bundle, schema=schema)
    with pytest.raises(BundleError, match="schema"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "name",
    [
        "../x.json",
        "/etc/x.json",
        "a/b.json",
        "C:x.json",
        "..\\x.json",
        ".x.json",
        "x.pkl",
        "x.so",
        "x.py",
        "x.onnx.data",
        "",
        "x\n.json",
        "manifest.json",
        "onnx/",
        "onnx//x.onnx",
        "onnx/../x.json",
        "onnx/a/x.onnx",
        "onnx/.x.onnx",
        "onnx/x.so",
        "onnx\\x.onnx",
        "/onnx/x.onnx",
        "ONNX/x.onnx",
        "./labels.json",
        "x.json\x00",
        "Manifest.json",
        "LABELS.json",
    ],
)
def test_unsafe_file_names_are_refused(bundle: Path, name: str) -> None:
    files = manifest_of(bundle)["files"]
    rewrite(bundle, files={**files, name: {"bytes": 1, "sha256": "0" * 64}})
    with pytest.raises(BundleError, match="file name"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"files": None},
        {"models": {}},
        {"models": {"int8": "../model.onnx"}},
        {"models": {"int8": "labels.json"}},
        {"models": {"int8": ["model.int8.onnx"]}},
        {"default": "fp64"},
        {"default": None},
    ],
)
def test_an_inconsistent_manifest_is_refused(bundle: Path, changes: dict) -> None:
    rewrite(bundle, **changes)
    with pytest.raises(BundleError, match="is not usable"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "want", [{}, {"bytes": -1, "sha256": "0" * 64}, {"bytes": 1, "sha256": "0" * 63}, "x"]
)
def test_an_entry_without_size_or_hash_is_refused(bundle: Path, want: object) -> None:
    files = manifest_of(bundle)["files"]
    rewrite(bundle, files={**files, "labels.json": want})
    with pytest.raises(BundleError, match="labels.json"):
        open_bundle(bundle)


def test_unlisted_labels_are_refused(bundle: Path) -> None:
    files = manifest_of(bundle)["files"]
    rewrite(bundle, files={name: want for name, want in files.items() if name != "labels.json"})
    with pytest.raises(BundleError, match="labels.json is not listed"):
        open_bundle(bundle)
