"""A bundle is refused unless every byte is the one that was built."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from tiny_bundles import SPEC, float_model, make_bundle

from export.bundle.write import seal
from runtime import BundleError, open_bundle
from runtime.bundle import check_file, labels_from_json, parse_json, sha256_of
from runtime.files.onnx import check, inspect


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return make_bundle(
        tmp_path_factory.mktemp("built") / "bundle", tmp_path_factory.mktemp("scratch")
    )


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "bundle"))


def rewrite(bundle: Path, **changes: object) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, **changes}))


def test_opens(bundle: Path) -> None:
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
        want = json.loads((bundle / "manifest.json").read_text())["files"][
            file.relative_to(bundle).as_posix()
        ]["sha256"]
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


@pytest.mark.parametrize(
    "text", ["", "{", '{"schema": 1, "schema": 1}', '{"schema": NaN}', "[" * 100_000, "[]"]
)
def test_damaged_manifest(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match="manifest"):
        open_bundle(bundle)


def test_truncated_manifest(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(text[: len(text) // 2])
    with pytest.raises(BundleError, match="manifest.json is not valid JSON"):
        open_bundle(bundle)


def test_future_schema_asks_for_an_upgrade(bundle: Path) -> None:
    rewrite(bundle, schema=3)
    with pytest.raises(BundleError, match="newer clip2edge.*got schema 3.*upgrade"):
        open_bundle(bundle)


def test_a_subfolder_and_ort_files_need_schema_2(bundle: Path) -> None:
    for name in ("onnx/model.onnx", "model.ort"):
        (bundle / name).write_bytes(b"x")
    seal(bundle, {"int8": "model.int8.onnx"}, "int8")
    assert {"onnx/model.onnx", "model.ort"} < set(open_bundle(bundle).manifest["files"])
    rewrite(bundle, schema=1)
    with pytest.raises(BundleError, match="file name"):
        open_bundle(bundle)


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
def test_broken_targets(bundle: Path, targets: object) -> None:
    rewrite(bundle, targets=targets)
    with pytest.raises(BundleError, match="is not usable.*target"):
        open_bundle(bundle)


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
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    kept = {name: want for name, want in files.items() if not name.startswith("onnx/")}
    digest = sha256_of(tmp_path / "elsewhere" / "model.onnx")
    rewrite(bundle, files={**kept, "onnx/model.onnx": {"bytes": 1, "sha256": digest}})
    with pytest.raises(BundleError, match="leaves the bundle"):
        open_bundle(bundle)


@pytest.mark.parametrize("schema", [None, 0, "1", True, 1.0])
def test_no_schema(bundle: Path, schema: object) -> None:
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
def test_unsafe_file_names(bundle: Path, name: str) -> None:
    files = json.loads((bundle / "manifest.json").read_text())["files"]
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
def test_inconsistent_manifest(bundle: Path, changes: dict) -> None:
    rewrite(bundle, **changes)
    with pytest.raises(BundleError, match="is not usable"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "want", [{}, {"bytes": -1, "sha256": "0" * 64}, {"bytes": 1, "sha256": "0" * 63}, "x"]
)
def test_entry_without_size_or_hash(bundle: Path, want: object) -> None:
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    rewrite(bundle, files={**files, "labels.json": want})
    with pytest.raises(BundleError, match="labels.json"):
        open_bundle(bundle)


def test_unlisted_labels_are_refused(bundle: Path) -> None:
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    rewrite(bundle, files={name: want for name, want in files.items() if name != "labels.json"})
    with pytest.raises(BundleError, match="labels.json is not listed"):
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


def test_facts_of_a_model_without_the_onnx_package(tmp_path: Path) -> None:
    facts = inspect(float_model(tmp_path / "m.onnx"))
    assert facts.ir_version == 10 and facts.opsets == {"": 17}
    assert facts.ops == {"Conv": 2, "Relu": 2, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}


def test_external_weights_are_refused(tmp_path: Path) -> None:
    model = onnx.load(float_model(tmp_path / "m.onnx"))
    path = tmp_path / "e.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="e.data", size_threshold=0)
    with pytest.raises(BundleError, match="weights in another file"):
        check(path)


def test_external_weights_inside_a_branch_are_seen(tmp_path: Path) -> None:
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
    tensor.data_location = TensorProto.EXTERNAL
    branch = helper.make_graph([helper.make_node("Constant", [], ["x"], value=tensor)], "b", [], [])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    model = helper.make_model(helper.make_graph([node], "g", [], []))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert inspect(tmp_path / "m.onnx").external_tensors == 2


@pytest.mark.parametrize(("op", "domain"), [("EPContext", "com.microsoft"), ("Evil", "my.ops")])
def test_operators_that_load_code_are_refused(tmp_path: Path, op: str, domain: str) -> None:
    model = helper.make_model(
        helper.make_graph([helper.make_node(op, ["x"], ["y"], domain=domain)], "g", [], [])
    )
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=op if op == "EPContext" else domain):
        check(tmp_path / "m.onnx")


def test_damaged_models_are_errors_never_crashes(tmp_path: Path) -> None:
    data = float_model(tmp_path / "m.onnx").read_bytes()
    path = tmp_path / "d.onnx"
    for bad in (b"", b"\x00", b"not a model at all", data[:40], b"\xff" * 64, b"\x3a\x05abcde"):
        path.write_bytes(bad)
        with pytest.raises(BundleError, match="d.onnx"):
            check(path)
    with pytest.raises(BundleError, match="gone.onnx"):
        check(tmp_path / "gone.onnx")


def test_flipped_bytes_are_errors_or_harmless_never_crashes(tmp_path: Path) -> None:
    data = float_model(tmp_path / "m.onnx").read_bytes()
    path = tmp_path / "d.onnx"
    for at in range(0, len(data), 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with contextlib.suppress(BundleError):
            check(path)
