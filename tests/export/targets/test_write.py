"""Targets in a bundle, as a user makes them: states, parity, classifier, verify; and what must
leave the bundle alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from paths import ROOT
from PIL import Image
from tiny_bundles import SIZE, SPEC, encoded, make_bundle, photo
from typer.testing import CliRunner

from compress.data.artifact import DataArtifact
from compress.engine.errors import ExportError, ParityError, StoreError
from export.targets import parity, table, write
from export.targets.shapes import infer
from export.targets.write import export_targets
from runtime import BackendError, Classifier, open_bundle
from runtime.files.onnx import graph_outputs
from runtime.golden import DIFFERS, OK, SKIPPED, verify

ALL = (
    "fp16",
    "bf16",
    "fp32.batch1",
    "int8.batch1",
    "fp16.batch1",
    "int8.u8in",
    "fp32.u8in",
    "int8.image",
    "fp32.image",
    "int8.ort",
    "int8.u8in.batch1.ort",
    "int8.opset21",
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return make_bundle(
        tmp_path_factory.mktemp("plain") / "bundle", tmp_path_factory.mktemp("scratch")
    )


@pytest.fixture
def bundle(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "bundle"))


@pytest.fixture(scope="module")
def exported(plain: Path, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "with-targets"
    export_targets(plain, ALL, out=out)
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_every_target_has_a_state_a_reason_and_measured_parity(exported: Path) -> None:
    rows = open_bundle(exported).targets
    assert set(rows) == set(ALL)
    for key, row in rows.items():
        assert row["state"] == "verified" and row["why"], key
        found = row["parity"]
        assert found["images"] >= 2 and found["agreement"] == 1.0 and found["logit_range"] > 0, key
        assert "golden" in found["images_from"] and found["engine"], key
        if "image" in key:
            assert (
                0 <= found["pixel_mean"] < 0.05
                and found["pixel_max"] <= 2
                and found["tolerance"] is None
            )
        else:
            assert found["max_abs_diff"] <= found["tolerance"]
    assert "no engine here runs it" in rows["bf16"]["why"] and "Conv" in rows["bf16"]["why"]
    assert rows["fp16"]["half"]["nodes_half"] > 0
    assert "every fp16 tensor rounded" in rows["fp16"]["why"]
    assert not open_bundle(exported).manifest["models"].keys() & set(
        ALL
    )  # bench and auto go on as before


def test_every_file_passes_the_checker_and_strict_shape_inference_and_describes_itself(
    exported: Path,
) -> None:
    for key, row in open_bundle(exported).targets.items():
        if row["file"].endswith(".onnx"):
            model = onnx.load(exported / row["file"])
            onnx.checker.check_model(model, full_check=True)
            infer(model)
            props = {entry.key: entry.value for entry in model.metadata_props}
            assert (
                props["clip2edge.precision"] == key
                and json.loads(props["clip2edge.preprocess"]) == SPEC.to_json()
            )
            assert (
                key == "bf16" or len(Classifier.load(exported / row["file"], threads=1).labels) == 4
            )
            names = [node.name for node in model.graph.node]
            assert all(names) and len(set(names)) == len(names), key


def test_the_classifier_runs_targets_by_name_on_any_image(exported: Path) -> None:
    picture = encoded(photo(7, (90, 61)))
    for key in ALL:
        if key == "bf16":
            with pytest.raises(BackendError, match="cannot load"):
                Classifier.load(exported, key, threads=1)
            continue
        base = "int8" if key.startswith("int8") else "fp32"
        wanted = Classifier.load(exported, base, threads=1).logits([picture, photo(8)])
        made = Classifier.load(exported, key, threads=1).logits([picture, photo(8)])
        assert np.abs(made - wanted).max() < 0.05 * np.ptp(wanted), key
        assert (
            Classifier.load(exported, key, threads=1).predict(picture)[0].index
            == wanted[0].argmax()
        )


def test_a_model_that_crops_by_itself_refuses_cropped_pixels(exported: Path) -> None:
    with pytest.raises(BackendError, match="crops itself"):
        Classifier.load(exported, "fp32.image", threads=1).logits_u8(
            np.zeros((1, SIZE, SIZE, 3), np.uint8)
        )


def test_verify_repeats_targets_and_sees_a_changed_one(exported: Path, tmp_path: Path) -> None:
    states = {step.name.removeprefix("logits "): step.state for step in verify(exported, threads=1)}
    assert {states[key] for key in ALL if key != "bf16"} == {OK} and states["bf16"] == SKIPPED
    broken = Path(shutil.copytree(exported, tmp_path / "b"))
    other = open_bundle(broken).manifest
    table_ = {
        **other,
        "targets": {
            **other["targets"],
            "fp16": {**other["targets"]["fp16"], "file": "model.fp32.onnx"},
        },
    }
    table_["targets"]["fp32.batch1"] = {
        **table_["targets"]["fp32.batch1"],
        "file": "model.int8.onnx",
    }
    (broken / "manifest.json").write_text(json.dumps(table_))
    assert {step.name: step.state for step in verify(broken, threads=1)}[
        "logits fp32.batch1"
    ] == DIFFERS


def test_hugging_faces_loaders_get_a_copy_of_fp16(exported: Path) -> None:
    assert open_bundle(exported).twins["fp16"] == exported / "onnx" / "model_fp16.onnx"
    steps = {step.name: step for step in verify(exported, threads=1)}
    assert steps["logits onnx/model_fp16.onnx"].state == OK


def test_the_same_command_gives_the_same_bytes(exported: Path, plain: Path, tmp_path: Path) -> None:
    export_targets(plain, ALL, out=tmp_path / "again")
    first, second = content(exported), content(tmp_path / "again")
    assert first == second
    for name, data in first.items():
        assert str(tmp_path.parent).encode() not in data and b".export-" not in data, name


def test_in_place_keeps_every_file_that_was_there(bundle: Path) -> None:
    before = content(bundle)
    export_targets(bundle, ["fp16"])
    export_targets(bundle, ["int8.u8in"])
    export_targets(bundle, ["fp16"])  # once more: the same file
    after = content(bundle)
    assert {
        name: data for name, data in after.items() if name in before and name != "manifest.json"
    } == {name: data for name, data in before.items() if name != "manifest.json"}
    assert set(open_bundle(bundle).targets) == {"fp16", "int8.u8in"}
    added = [
        "golden.targets.npz",
        "model.fp16.onnx",
        "model.int8.u8in.onnx",
        "onnx/model_fp16.onnx",
    ]
    assert sorted(set(after) - set(before)) == added
    assert [p.name for p in bundle.parent.iterdir()] == ["bundle"]  # no scratch is left


def test_two_exports_at_once_do_not_lose_a_target(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is refused while the first reads, extends and replaces the manifest."""
    real, refused = write._write_golden, []

    def slow(*arguments: object) -> object:
        with pytest.raises(StoreError, match="a change of 'bundle' .*another process"):
            export_targets(bundle, ["fp16"])
        refused.append("fp16")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(write, "_write_golden", slow)
        export_targets(bundle, ["int8.batch1"])
    export_targets(bundle, ["fp16"])
    assert refused and set(open_bundle(bundle).targets) == {"fp16", "int8.batch1"}


@pytest.mark.parametrize(
    "moment", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3, 5, 6, 7, 8))]
)
def test_a_killed_export_leaves_a_valid_bundle(bundle: Path, moment: int) -> None:
    """The process dies at the n-th change of the bundle, as from kill -9; the bundle opens, and the
    same command mends it.
    """
    export_targets(bundle, ["fp16"])
    script = f"""
import os, sys
from export.targets.write import export_targets
real, count = os.replace, 0
def replace(*args):
    global count
    count += 1
    if count == {moment}:
        os._exit(9)
    return real(*args)
os.replace = replace
export_targets({str(bundle)!r}, ["fp16", "int8.ort"])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 9), done.stderr
    opened = open_bundle(bundle)
    assert {"fp32", "int8"} <= set(opened.models)
    assert not [step for step in verify(bundle, threads=1) if step.state == DIFFERS]
    export_targets(bundle, ["fp16", "int8.ort"])
    assert {step.state for step in verify(bundle, threads=1)} == {OK}
    assert set(open_bundle(bundle).targets) == {"fp16", "int8.ort"}
    assert done.returncode == 9 or moment > 6  # the export changes the bundle six times


def test_a_target_that_computes_something_else_is_refused_and_nothing_is_written(
    bundle, monkeypatch
) -> None:
    before = content(bundle)
    real = table.make

    def wrong(target, source, spec, scan):  # type: ignore[no-untyped-def]
        model, report = real(target, source, spec, scan)
        weight = next(t for t in model.graph.initializer if len(t.dims) == 4)
        values = onnx.numpy_helper.to_array(weight)
        weight.CopyFrom(onnx.numpy_helper.from_array(values[::-1].copy(), weight.name))
        return model, report

    monkeypatch.setattr(table, "make", wrong)
    for name in ("fp16", "fp32.batch1", "fp32.image"):
        with pytest.raises(ParityError, match=f"{name} disagrees with fp32.*nothing was written"):
            print(export_targets(bundle, [name]))
    assert content(bundle) == before and [p.name for p in bundle.parent.iterdir()] == ["bundle"]


def test_preprocessing_that_is_not_the_reference_is_refused(bundle, monkeypatch) -> None:
    from export.targets import pixels

    swapped = {"bicubic": pixels.MODES["bilinear"], "bilinear": pixels.MODES["bicubic"]}
    monkeypatch.setattr(pixels, "MODES", swapped)
    with pytest.raises(ParityError, match="does not preprocess as the reference does"):
        export_targets(bundle, ["fp32.image"])


def test_what_cannot_be_run_is_recorded_as_unverified(bundle, monkeypatch) -> None:
    def refuses(*args, **options):  # type: ignore[no-untyped-def]
        raise NotImplementedError("Conv in bfloat16")

    monkeypatch.setattr(parity, "with_reference_evaluator", refuses)
    (row,) = export_targets(bundle, ["bf16"]).values()
    assert row["state"] == "unverified"
    assert (
        "unverified here" in row["why"]
        and "Conv" in row["why"]
        and "every bf16 tensor rounded" in row["why"]
    )
    assert open_bundle(bundle).targets["bf16"]["state"] == "unverified"


def test_images_of_a_folder_and_of_the_run_take_part(bundle: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(3):
        Image.fromarray(photo(seed, (70 + seed, 53))).save(photos / f"{seed}.jpg")
    (photos / "broken.png").write_bytes(b"no image")
    data = bundle.parent / "data"
    data.mkdir()
    np.save(
        data / "test.npy",
        np.stack([np.asarray(Image.fromarray(photo(s)).resize((SIZE, SIZE))) for s in range(9)]),
    )
    DataArtifact(data).write_rows("test", map(str, range(9)), range(9))
    (row,) = export_targets(bundle, ["fp32.u8in"], images=photos).values()
    assert row["parity"]["images"] == 2 + 9 + 3 and row["unreadable_images"] == 1
    assert row["parity"]["images_from"] == "2 golden + 9 test + 3 of --images"
    with pytest.raises(ExportError, match="no readable image"):
        export_targets(bundle, ["fp16"], images=tmp_path / "nowhere")


def test_refusals_name_the_reason(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no target"):
        export_targets(bundle, [])
    with pytest.raises(ExportError, match="needs int8.trt"):
        export_targets(bundle, ["int8.trt.batch1"])
    with pytest.raises(ExportError, match="exists already"):
        export_targets(bundle, ["fp16"], out=bundle)
    with pytest.raises(ExportError, match="18..22"):
        export_targets(bundle, ["fp32"], opset=17)
    with pytest.raises(ExportError, match="did you mean 'fp16'"):
        export_targets(bundle, ["fp17"])
    assert not open_bundle(bundle).targets


def test_the_command_writes_a_copy_with_the_target(bundle: Path, tmp_path: Path) -> None:
    from compress.cli.app import app

    out = tmp_path / "new"
    done = CliRunner().invoke(
        app,
        ["export", str(bundle), "--to", "fp32", "--opset", "18", "--ir", "8", "--out", str(out)],
    )
    assert done.exit_code == 0, done.output
    assert "verified" in done.output and "fp32.opset18.ir8" in done.output
    model = onnx.load(out / "model.fp32.opset18.ir8.onnx")
    assert model.ir_version == 8 and model.opset_import[0].version == 18
    assert not open_bundle(bundle).targets


def test_an_engine_is_built_from_the_finished_bundle(bundle: Path, monkeypatch) -> None:
    called: list[Path] = []
    engine = lambda path: called.append(path) or {"engine": {"file": "x"}}  # noqa: E731
    monkeypatch.setitem(table.ENGINES, "engine", engine)
    assert set(export_targets(bundle, ["engine", "fp16"])) == {"engine", "fp16"}
    assert called == [bundle]


def test_features_go_into_every_target_and_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_bundle(tmp_path / "bundle", tmp_path, features=True)
    rows = export_targets(made, ["fp16", "int8.u8in", "fp32.batch1", "fp32.image", "int8.logits"])
    outputs = {key: graph_outputs(made / str(row["file"])) for key, row in rows.items()}
    assert outputs.pop("int8.logits") == ["logits"]
    assert set(map(tuple, outputs.values())) == {("logits", "features")}
    off = {key: row["parity"]["features_max_abs_diff"] for key, row in rows.items()}
    assert off.pop("int8.logits") is None and max(off.values()) < 0.05
    real = table.make

    def wrong(target, source, spec, scan):  # type: ignore[no-untyped-def]
        model, report = real(target, source, spec, scan)
        unit = next(node for node in model.graph.node if "features" in node.output)
        unit.attribute[0].i = 0  # along the batch
        return model, report

    monkeypatch.setattr(table, "make", wrong)
    with pytest.raises(ParityError, match="fp32.opset18 disagrees with fp32 in its features"):
        export_targets(made, ["fp32.opset18"])
