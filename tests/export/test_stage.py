from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_models import stage_context

import runtime
from compress.engine.errors import ExportError
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.quantize import stage as quantize
from export import stage as export
from runtime.backends import load


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artifact]:
    root = tmp_path_factory.mktemp("export")
    ctx = stage_context(root, "quantize", quantize={"steps": 2})
    return root, Artifact("quantize", ctx.folder, quantize.run(ctx), "content of quantize")


def context(quantized: tuple[Path, Artifact], name: str) -> StageContext:
    root, artifact = quantized
    ctx = stage_context(root, name, quantize={"steps": 2})
    return StageContext(ctx.settings, {**ctx.inputs, "quantize": artifact}, ctx.folder, ctx.seed)


@pytest.fixture(scope="module")
def exported(quantized: tuple[Path, Artifact]) -> tuple[StageContext, dict[str, Any]]:
    ctx = context(quantized, "first")
    return ctx, export.run(ctx)


def test_the_bundle_runs_without_torch_and_agrees(
    exported: tuple[StageContext, dict[str, Any]],
) -> None:
    ctx, facts = exported
    pixels = np.load(ctx.inputs["data"].path / "test.npy")
    assert set(facts["parity"]) == {"model.fp32.onnx", "model.int8.onnx", "model.int8.trt.onnx"}
    made = {}
    for precision in ("fp32", "int8"):
        classifier = runtime.Classifier.load(ctx.folder / "bundle", precision, threads=1)
        assert classifier.labels[0] == "class 0"
        made[precision] = classifier.logits(list(pixels))
    assert made["fp32"].shape == (24, 5)
    assert np.abs(made["fp32"] - made["int8"]).max() < 0.25 * np.ptp(made["fp32"])


def test_the_teacher_has_both_heads_and_describes_itself(
    exported: tuple[StageContext, dict[str, Any]],
) -> None:
    ctx, facts = exported
    path = ctx.folder / "teacher" / "model.fp32.onnx"
    runner = load("onnxruntime", path, threads=1)
    assert runner.outputs == ("logits", "zero_shot_logits", "features")
    zeros = np.zeros((2, 3, 32, 32), np.float32)
    probe, zero_shot = runner.run(zeros), runner.run(zeros, "zero_shot_logits")
    assert probe.shape == zero_shot.shape == (2, 5) and not np.allclose(probe, zero_shot)
    assert runtime.Classifier.load(path, threads=1).labels[4] == "class 4"
    assert facts["teacher_parity"]["max_abs_diff"] <= facts["teacher_parity"]["tolerance"]


def test_the_baseline_lies_beside_the_bundle(exported: tuple[StageContext, dict[str, Any]]) -> None:
    ctx, facts = exported
    baseline = onnx.load(ctx.folder / "ptq" / "model.ptq.onnx")
    assert facts["ptq_size_bytes"] > 0 and any(
        node.op_type == "QuantizeLinear" for node in baseline.graph.node
    )
    assert load("onnxruntime", ctx.folder / "ptq" / "model.ptq.onnx", threads=1).run(
        np.zeros((3, 3, 32, 32), np.float32)
    ).shape == (3, 5)
    assert not list((ctx.folder / "bundle").glob("*ptq*"))


def test_parity_is_stored(exported: tuple[StageContext, dict[str, Any]]) -> None:
    stored = json.loads((exported[0].folder / "parity.json").read_text())
    assert stored["images_from"] == "test" and len(stored["files"]) == 4
    assert all(row["images"] in (8, 12) and row["noise_floor"] >= 0 for row in stored["files"])


def test_provenance_names_no_folder_and_no_duration(
    exported: tuple[StageContext, dict[str, Any]],
) -> None:
    ctx, _ = exported
    text = (ctx.folder / "bundle" / "provenance.json").read_text()
    assert (
        str(ctx.folder.parent) not in text
        and json.loads(text)["stages"]["quantize"]["facts"]["mode"] == "qat"
    )
    card = (ctx.folder / "bundle" / "README.md").read_text()
    assert str(ctx.folder.parent) not in card and "distilled from open_clip with" in card
    assert "base_model" not in card, "a folder of one's own has no page on the hub"


@pytest.mark.slow
def test_a_second_export_has_the_same_bytes(
    quantized: tuple[Path, Artifact], exported: tuple[StageContext, dict[str, Any]]
) -> None:
    again = context(quantized, "second")
    export.run(again)
    for path in sorted(exported[0].folder.rglob("*.*")):
        relative = path.relative_to(exported[0].folder)
        same = (
            "partial" in relative.parts
            or path.read_bytes() == (again.folder / relative).read_bytes()
        )
        assert same, relative


def test_another_calibration_set_is_an_error(
    quantized: tuple[Path, Artifact], tmp_path: Path
) -> None:
    ctx = context(quantized, "calibration")
    other = stage_context(quantized[0], "calibration", quantize={"calibration_images": 20})
    ctx = StageContext(other.settings, ctx.inputs, ctx.folder, ctx.seed)
    spec = runtime.PreprocessSpec(32, 32, "bicubic", (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ExportError, match="calibration set"):
        export._baseline(ctx, spec, tmp_path / "unused.onnx")
