"""Stage "bench" on real files: accuracy in the runtime, latency, kernels, and the path from an encoded image."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_artifacts import NAMES, Finished, finished  # noqa: F401

from compress import bench
from compress.errors import ParityError
from compress.evaluate import top1
from compress.stages import StageContext
from runtime import Classifier, PreprocessSpec


def read(finished: Finished, file: str) -> Any:  # noqa: F811
    return json.loads((finished.stages["bench"].path / file).read_text())


def test_every_exported_form_is_measured(finished: Finished) -> None:  # noqa: F811
    forms = read(finished, "accuracy.json")["forms"]
    expected = {"teacher", "teacher_zero_shot", "student_fp32", "student_int8", "student_int8_trt", "student_ptq"}
    assert set(forms) == expected
    assert all(form["n"] == 12 * len(NAMES) for form in forms.values())
    assert forms["teacher"]["top1"] > 2 / len(NAMES), "the played teacher classifies"
    assert forms["teacher"]["top1"] != forms["teacher_zero_shot"]["top1"], "both outputs are read"


def test_predictions_are_those_of_the_runtime(finished: Finished) -> None:  # noqa: F811
    with np.load(finished.stages["bench"].path / "predictions.npz", allow_pickle=False) as stored:
        logits, labels = stored["student_int8"], stored["labels"]
    classifier = Classifier.load(finished.stages["export"].path / "bundle", "int8", threads=1)
    again = classifier.logits_u8(np.load(finished.stages["data"].path / "test.npy"))
    assert np.allclose(again, logits, atol=1e-4)
    assert top1(logits, labels) == read(finished, "accuracy.json")["forms"]["student_int8"]["top1"]


def test_the_teacher_sees_its_own_geometry(finished: Finished) -> None:  # noqa: F811
    """The teacher takes 48 px, test.npy holds 32: the originals are decoded again."""
    files = sorted(Path(finished.settings.data.path or "").glob("test/*/[0-9]*.png"))
    classifier = Classifier.load(finished.stages["export"].path / "teacher" / "model.fp32.onnx", threads=1)
    assert classifier.spec.size == 48
    with np.load(finished.stages["bench"].path / "predictions.npz", allow_pickle=False) as stored:
        assert np.allclose(classifier.logits(files[:20]), stored["teacher"][:20], atol=1e-3)


def test_latency_rows_and_speedups(finished: Finished) -> None:  # noqa: F811
    latency = read(finished, "latency.json")
    compute = {(row["model"], row["precision"]) for row in latency["rows"] if row["includes"] == "compute"}
    assert compute == {("teacher", "fp32"), ("student", "fp32"), ("student", "int8"), ("student", "ptq")}
    assert all(row["n"] >= 11 and row["p50_ms"] > 0 for row in latency["rows"])
    whole = [row for row in latency["rows"] if row["includes"] != "compute"]
    assert {row["precision"] for row in whole} == {"fp32", "int8"} and all("JPEG" in row["image"] for row in whole)
    speedup = latency["speedups"]["student_fp32_vs_teacher"]
    assert speedup["ci95"][0] <= speedup["p50"] <= speedup["ci95"][1] and speedup["p50"] > 1
    first = next(row for row in latency["rows"] if row["precision"] == "int8")
    assert first["load_ms"] > 0 and first["first_ms"] > 0


def test_quantized_kernels_come_from_the_profile(finished: Finished) -> None:  # noqa: F811
    kernels = read(finished, "latency.json")["kernels"]
    assert kernels["is_quantized"] and kernels["ran"]["QLinearConv"] == 2


def test_encoded_images_give_the_same_logits(finished: Finished) -> None:  # noqa: F811
    check = finished.stages["bench"].facts["predict_check"]
    assert check["images"] == 8 and check["pixels_equal"] and check["max_abs_logit_difference"] < 1e-3


def test_a_drift_of_preprocessing_is_an_error(finished: Finished, tmp_path: Path) -> None:  # noqa: F811
    """The guard breaks when test.npy is not what the runtime makes of the images."""
    data = finished.stages["data"]
    shutil.copytree(data.path, tmp_path / "data")
    pixels = np.load(tmp_path / "data" / "test.npy")
    np.save(tmp_path / "data" / "test.npy", np.roll(pixels, 1, axis=2))
    stages = {**finished.stages, "data": dataclasses.replace(data, path=tmp_path / "data")}
    spec = PreprocessSpec(32, 32, "bicubic", (0.5,) * 3, (0.5,) * 3)
    with (
        np.load(finished.stages["bench"].path / "predictions.npz") as stored,
        pytest.raises(ParityError, match="pixels"),
    ):
        bench.check_predict(StageContext(finished.settings, stages, tmp_path), spec, stored["student_fp32"])


def test_a_killed_evaluation_goes_on_where_it_was(
    finished: Finished,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "CHUNK", 50)
    ctx = StageContext(finished.settings, finished.stages, tmp_path)
    forms = [form for form in bench.forms_of(finished.stages["export"]) if form.name == "student_fp32"]
    spec = Classifier.load(forms[0].file, threads=1).spec
    whole = bench._logits(ctx, forms, spec, 144)["student_fp32"]
    parts = sorted(ctx.partial.glob("student_fp32.*.npy"))
    assert len(parts) == 3
    kept = np.full_like(np.load(parts[0]), 7.0)
    np.save(parts[0], kept)
    parts[1].unlink()
    resumed = bench._logits(ctx, forms, spec, 144)["student_fp32"]
    assert (resumed[:50] == 7.0).all(), "a finished part is not made again"
    assert np.array_equal(resumed[50:], whole[50:])
