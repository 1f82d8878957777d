"""Accuracy of exported files in the runtime, and the path from an encoded image."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from drawn_shapes import NAMES
from finished_runs import Finished
from safetensors.numpy import save_file

from compress.bench import accuracy, answers
from compress.bench.artifact import BenchArtifact
from compress.bench.variants import variants_of
from compress.data.sources import open_source
from compress.data.testsets import TestSets
from compress.engine.config import HostSettings
from compress.engine.errors import ParityError
from compress.engine.executors.work import metadata_of
from compress.engine.stage import StageContext
from compress.evaluate.metrics import top1
from export.artifact import ExportArtifact
from runtime import Classifier


def accuracy_of(finished: Finished) -> dict[str, Any]:
    """accuracy.json of a finished bench."""
    return dict(BenchArtifact(finished.stages["bench"].path).accuracy())


def test_every_exported_variant_is_measured(finished: Finished) -> None:
    forms = accuracy_of(finished)["forms"]
    expected = {
        "teacher",
        "teacher_zero_shot",
        "student_fp32",
        "student_int8",
        "student_int8_trt",
        "student_ptq",
    }
    assert set(forms) == expected
    assert all(form["n"] == 12 * len(NAMES) for form in forms.values())
    assert forms["teacher"]["top1"] > 2 / len(NAMES), "the played teacher classifies"
    assert forms["teacher"]["top1"] != forms["teacher_zero_shot"]["top1"], "both outputs are read"


def test_predictions_are_those_of_the_runtime(finished: Finished) -> None:
    with np.load(finished.stages["bench"].path / "predictions.npz", allow_pickle=False) as stored:
        logits, labels = stored["student_int8"], stored["labels"]
    classifier = Classifier.load(finished.stages["export"].path / "bundle", "int8", threads=1)
    again = classifier.logits_u8(np.load(finished.stages["data"].path / "test.npy"))
    assert np.allclose(again, logits, atol=1e-4)
    assert top1(logits, labels) == accuracy_of(finished)["forms"]["student_int8"]["top1"]


def test_the_teacher_sees_its_own_geometry(finished: Finished) -> None:
    """The teacher takes 48 px, test.npy holds 32: the originals are decoded again."""
    files = sorted(Path(finished.settings.data.path or "").glob("test/*/[0-9]*.png"))
    classifier = Classifier.load(
        finished.stages["export"].path / "teacher" / "model.fp32.onnx", threads=1
    )
    assert classifier.spec.size == 48
    with np.load(finished.stages["bench"].path / "predictions.npz", allow_pickle=False) as stored:
        assert np.allclose(classifier.logits(files[:20]), stored["teacher"][:20], atol=1e-3)


def test_changes_are_those_of_the_predictions(finished: Finished) -> None:
    stored = accuracy_of(finished)
    found, whole = stored["changes"]["int8_vs_fp32"], stored["paired"]["int8_vs_fp32"]
    assert set(stored["changes"]) == {"int8_vs_fp32", "fp32_vs_teacher", "int8_vs_teacher"}
    assert (found["gained"], found["lost"]) == (whole["only_a"], whole["only_b"])
    assert (
        len(found["right_to_wrong"]) == found["lost"]
        and len(found["wrong_to_right"]) == found["gained"]
    )
    folders = {name.replace(" ", "_") for name in NAMES}
    assert found["tested"] == len(NAMES) and {row["name"] for row in found["classes"]} <= folders
    assert sum(row["lost"] for row in found["classes"]) == found["lost"]
    keys = {
        row["key"] for row in json.loads((finished.stages["data"].path / "test.json").read_text())
    }
    assert {flip["key"] for flip in found["right_to_wrong"]} <= keys
    assert stored["changes"]["int8_vs_teacher"]["right_to_wrong"] == [], (
        "images are listed for quantization alone"
    )


def test_encoded_images_give_the_same_logits(finished: Finished) -> None:
    check = finished.stages["bench"].facts["predict_check"]
    assert (
        check["images"] == 8 and check["pixels_equal"] and check["max_abs_logit_difference"] < 1e-3
    )


def test_a_drift_of_preprocessing_is_an_error(finished: Finished, tmp_path: Path) -> None:
    """The guard breaks when test.npy is not what the runtime makes of the images."""
    data = finished.stages["data"]
    shutil.copytree(data.path, tmp_path / "data")
    pixels = np.load(tmp_path / "data" / "test.npy")
    np.save(tmp_path / "data" / "test.npy", np.roll(pixels, 1, axis=2))
    stages = {**finished.stages, "data": dataclasses.replace(data, path=tmp_path / "data")}
    logits = BenchArtifact(finished.stages["bench"].path).predictions().logits
    with pytest.raises(ParityError, match="pixels"):
        accuracy.check_predict(
            StageContext(finished.settings, stages, tmp_path), logits["student_fp32"]
        )


def test_a_killed_evaluation_goes_on_where_it_was(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "CHUNK", 50)
    ctx = StageContext(finished.settings, finished.stages, tmp_path)
    export = ExportArtifact(finished.stages["export"].path)
    variants = [one for one in variants_of(export) if one.name == "student_fp32"]
    whole = accuracy.logits_of(ctx, variants, TestSets(ctx))["test"]["student_fp32"]
    parts = sorted(ctx.partial.glob("test.student_fp32.*.safetensors"))
    assert len(parts) == 3
    known = metadata_of(parts[0])
    assert json.loads(known["environment"]).keys() >= {"onnxruntime", "processor"}
    save_file({"logits": np.full((1, 50, whole.shape[1]), 7.0, np.float32)}, parts[0], known)
    parts[1].unlink()
    resumed = accuracy.logits_of(ctx, variants, TestSets(ctx))["test"]["student_fp32"]
    assert (resumed[:50] == 7.0).all(), "a finished part is not made again"
    assert np.array_equal(resumed[50:], whole[50:])


def test_several_processes_give_the_same_answers(finished: Finished, tmp_path: Path) -> None:
    host = HostSettings(engine="processes", jobs=2)
    ctx = StageContext(finished.settings, finished.stages, tmp_path, host=host)
    every = variants_of(ExportArtifact(finished.stages["export"].path))
    variants = [one for one in every if one.is_teacher or one.name == "student_int8"]
    found = accuracy.logits_of(ctx, variants, TestSets(ctx))["test"]
    known = BenchArtifact(finished.stages["bench"].path).predictions().logits
    assert {"teacher", "student_int8"} <= found.keys()
    for name, logits in found.items():
        assert np.array_equal(logits, known[name]), name


def test_without_further_domains_there_is_no_mean(finished: Finished) -> None:
    stored = accuracy_of(finished)
    assert stored["domains"] == {} and stored["domain_mean"] is None


def test_every_domain_is_measured_with_the_exported_files(several_domains: Finished) -> None:
    """The students from the stored pixels, the teacher (48 px) from the originals, both as on the
    own test split.
    """
    from runtime import geometry

    done, stored = several_domains, accuracy_of(several_domains)
    variants = {"teacher", "teacher_zero_shot", "student_fp32", "student_int8"}
    assert set(stored["domains"]) == {"photo", "night", "sketch"}
    assert all(set(rows) == variants for rows in stored["domains"].values()), (
        "what ships, and its teacher"
    )
    assert stored["domains"]["photo"]["teacher"]["top1"] == stored["forms"]["teacher"]["top1"]
    data, source = done.stages["data"].path, open_source(done.settings.data)
    rows = json.loads((data / "test_sketch.json").read_text())
    labels, split = np.array([row["label"] for row in rows]), source.others["sketch"]
    student = Classifier.load(done.stages["export"].path / "bundle", "int8", threads=1)
    expected = top1(student.logits_u8(np.load(data / "test_sketch.npy")), labels)
    assert stored["domains"]["sketch"]["student_int8"]["top1"] == pytest.approx(expected)
    teacher = Classifier.load(done.stages["export"].path / "teacher" / "model.fp32.onnx", threads=1)
    at = {split.keys[i]: i for i in range(len(split))}
    pixels = np.stack([geometry(split.image(at[row["key"]]), teacher.spec) for row in rows])
    found = stored["domains"]["sketch"]["teacher"]
    assert found["top1"] == pytest.approx(top1(teacher.logits_u8(pixels), labels))
    assert found["n"] == 64 and found["ci95"][0] < found["top1"] < found["ci95"][1]


def test_a_mean_gives_every_domain_the_same_weight_and_names_the_own_one() -> None:
    sets = SimpleNamespace(own="photo", domains={"test_sketch": "sketch", "test_night": "night"})
    labels = {"test_sketch": np.array([0, 1]), "test_night": np.array([0, 0, 0, 0, 1])}
    sets.labels = labels.__getitem__
    always_0 = {
        name: {"student_fp32": np.eye(2, dtype=np.float32)[np.zeros(len(y), int)]}
        for name, y in labels.items()
    }
    own = {"n": 9, "top1": 1.0, "ci95": [0.7, 1.0], "ece": 0.1}
    means_of = accuracy.by_domain(sets, {"student_fp32": own, "student_ptq": own}, always_0)
    assert means_of["domains"]["photo"] == {
        "student_fp32": {"n": 9, "top1": 1.0, "ci95": [0.7, 1.0]}
    }
    means = means_of["domain_mean"]
    assert (means["own"], means["domains"]) == ("photo", ["photo", "sketch", "night"])
    assert means["top1"]["student_fp32"] == pytest.approx((1 + 0.5 + 0.8) / 3)
    assert means["top1_others"]["student_fp32"] == pytest.approx((0.5 + 0.8) / 2)
