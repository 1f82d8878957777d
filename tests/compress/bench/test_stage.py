"""Stage "bench" on real files: accuracy in the runtime, latency, kernels, and the path from an
encoded image.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from drawn_shapes import NAMES
from finished_runs import Finished

from compress.bench import stage as bench
from compress.data.sources import open_source
from compress.data.testsets import TestSets
from compress.engine.errors import ParityError
from compress.engine.stage import StageContext
from compress.evaluate.metrics import top1
from runtime import Classifier, PreprocessSpec
from runtime.bench.run import NO_SENSOR
from runtime.host import sensors


def read(finished: Finished, file: str) -> Any:
    return json.loads((finished.stages["bench"].path / file).read_text())


def test_every_exported_form_is_measured(finished: Finished) -> None:
    forms = read(finished, "accuracy.json")["forms"]
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
    assert top1(logits, labels) == read(finished, "accuracy.json")["forms"]["student_int8"]["top1"]


def test_the_teacher_sees_its_own_geometry(finished: Finished) -> None:
    """The teacher takes 48 px, test.npy holds 32: the originals are decoded again."""
    files = sorted(Path(finished.settings.data.path or "").glob("test/*/[0-9]*.png"))
    classifier = Classifier.load(
        finished.stages["export"].path / "teacher" / "model.fp32.onnx", threads=1
    )
    assert classifier.spec.size == 48
    with np.load(finished.stages["bench"].path / "predictions.npz", allow_pickle=False) as stored:
        assert np.allclose(classifier.logits(files[:20]), stored["teacher"][:20], atol=1e-3)


def test_latency_rows_and_speedups(finished: Finished) -> None:
    latency = read(finished, "latency.json")
    compute = {
        (row["model"], row["precision"]) for row in latency["rows"] if row["includes"] == "compute"
    }
    assert compute == {
        ("teacher", "fp32"),
        ("student", "fp32"),
        ("student", "int8"),
        ("student", "ptq"),
    }
    assert all(row["n"] >= 11 and row["p50_ms"] > 0 for row in latency["rows"])
    whole = [row for row in latency["rows"] if row["includes"] != "compute"]
    assert {row["precision"] for row in whole} == {"fp32", "int8"} and all(
        "JPEG" in row["image"] for row in whole
    )
    speedup = latency["speedups"]["student_fp32_vs_teacher"]
    assert speedup["ci95"][0] <= speedup["p50"] <= speedup["ci95"][1] and speedup["p50"] > 1
    first = next(row for row in latency["rows"] if row["precision"] == "int8")
    assert first["load_ms"] > 0 and first["first_ms"] > 0


def test_every_row_carries_its_quantiles(finished: Finished) -> None:
    for row in read(finished, "latency.json")["rows"]:
        curve = row["quantiles_ms"]
        assert len(curve) == 101 and all(a <= b for a, b in zip(curve, curve[1:], strict=False))
        assert curve[50] == row["p50_ms"], "the curve and the table are of the same calls"


def test_the_way_of_an_encoded_image_is_broken_down(finished: Finished) -> None:
    latency = read(finished, "latency.json")
    assert set(latency["breakdown"]) == {"fp32", "int8"}
    for told in latency["breakdown"].values():
        parts = [
            told[f"{part}_ms"] for part in ("decode", "geometry", "normalise", "compute", "post")
        ]
        assert (
            all(value > 0 for value in parts)
            and max(parts) < told["end_to_end_ms"] + max(parts) / 2
        )
        assert told["n"] >= 11 and told["bare_ms"] > 0


def test_changes_are_those_of_the_predictions(finished: Finished) -> None:
    accuracy = read(finished, "accuracy.json")
    found, whole = accuracy["changes"]["int8_vs_fp32"], accuracy["paired"]["int8_vs_fp32"]
    assert set(accuracy["changes"]) == {"int8_vs_fp32", "fp32_vs_teacher", "int8_vs_teacher"}
    assert (found["gained"], found["lost"]) == (whole["only_a"], whole["only_b"])
    assert (
        len(found["right_to_wrong"]) == found["lost"]
        and len(found["wrong_to_right"]) == found["gained"]
    )
    assert found["tested"] == len(NAMES) and {row["name"] for row in found["classes"]} <= set(NAMES)
    assert sum(row["lost"] for row in found["classes"]) == found["lost"]
    keys = {
        row["key"] for row in json.loads((finished.stages["data"].path / "test.json").read_text())
    }
    assert {flip["key"] for flip in found["right_to_wrong"]} <= keys
    assert accuracy["changes"]["int8_vs_teacher"]["right_to_wrong"] == [], (
        "images are listed for quantization alone"
    )


def test_energy_comes_from_the_sensor_logic_without_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter of 2 W: what each call is charged adds up to that power."""
    watts = sensors.Sensor(
        "counter", frozenset({"cpu"}), lambda: 2.0, lambda: 2.0 * time.perf_counter()
    )
    monkeypatch.setattr(bench.sensors, "sensor", lambda: watts)
    found, states = bench.energy({"student_int8": lambda: time.sleep(0.01)}, 0.1)
    told = found["student_int8"]
    assert states == [] and told["source"] == "counter"
    assert told["mj_per_inference"] * told["calls"] / told["seconds"] == pytest.approx(
        2000, rel=0.05
    )
    silent = sensors.Sensor("broken", frozenset({"cpu"}), lambda: None)
    monkeypatch.setattr(bench.sensors, "sensor", lambda: silent)
    found, states = bench.energy({"student_int8": lambda: None}, 0.1)
    assert found == {} and states == [
        "broken gave no reading: energy of student_int8 was not measured"
    ]


def test_a_machine_without_a_sensor_says_so(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.sensors, "sensor", lambda: None)
    monkeypatch.setattr(bench.sensors, "obstacles", lambda: [])
    assert bench.energy({"student_int8": lambda: None}, 0.1) == ({}, [NO_SENSOR])
    told = read(finished, "latency.json")
    measured = any(row.get("energy") for row in told["rows"])
    assert measured or any(line in finished.report["states"] for line in told["states"]), (
        "never silently"
    )


def test_quantized_kernels_come_from_the_profile(finished: Finished) -> None:
    kernels = read(finished, "latency.json")["kernels"]
    assert kernels["is_quantized"] and kernels["ran"]["QLinearConv"] == 2


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
    spec = PreprocessSpec(32, 32, "bicubic", (0.5,) * 3, (0.5,) * 3)
    with (
        np.load(finished.stages["bench"].path / "predictions.npz") as stored,
        pytest.raises(ParityError, match="pixels"),
    ):
        bench.check_predict(
            StageContext(finished.settings, stages, tmp_path), spec, stored["student_fp32"]
        )


def test_a_killed_evaluation_goes_on_where_it_was(
    finished: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "CHUNK", 50)
    ctx = StageContext(finished.settings, finished.stages, tmp_path)
    forms = [
        form for form in bench.forms_of(finished.stages["export"]) if form.name == "student_fp32"
    ]
    spec, sets = Classifier.load(forms[0].file, threads=1).spec, TestSets(ctx)
    whole = bench.logits_of(ctx, forms, spec, sets)["test"]["student_fp32"]
    parts = sorted(ctx.partial.glob("test.student_fp32.*.npy"))
    assert len(parts) == 3
    kept = np.full_like(np.load(parts[0]), 7.0)
    np.save(parts[0], kept)
    parts[1].unlink()
    resumed = bench.logits_of(ctx, forms, spec, sets)["test"]["student_fp32"]
    assert (resumed[:50] == 7.0).all(), "a finished part is not made again"
    assert np.array_equal(resumed[50:], whole[50:])


def test_without_further_domains_there_is_no_mean(finished: Finished) -> None:
    accuracy = read(finished, "accuracy.json")
    assert accuracy["domains"] == {} and accuracy["domain_mean"] is None


def test_every_domain_is_measured_with_the_exported_files(several_domains: Finished) -> None:
    """The students from the stored pixels, the teacher (48 px) from the originals, both as on the
    own test split.
    """
    from runtime import geometry

    done, accuracy = several_domains, read(several_domains, "accuracy.json")
    forms = {"teacher", "teacher_zero_shot", "student_fp32", "student_int8"}
    assert set(accuracy["domains"]) == {"photo", "night", "sketch"}
    assert all(set(rows) == forms for rows in accuracy["domains"].values()), (
        "what ships, and its teacher"
    )
    assert accuracy["domains"]["photo"]["teacher"]["top1"] == accuracy["forms"]["teacher"]["top1"]
    data, source = done.stages["data"].path, open_source(done.settings.data)
    rows = json.loads((data / "test_sketch.json").read_text())
    labels, split = np.array([row["label"] for row in rows]), source.others["sketch"]
    student = Classifier.load(done.stages["export"].path / "bundle", "int8", threads=1)
    expected = top1(student.logits_u8(np.load(data / "test_sketch.npy")), labels)
    assert accuracy["domains"]["sketch"]["student_int8"]["top1"] == pytest.approx(expected)
    teacher = Classifier.load(done.stages["export"].path / "teacher" / "model.fp32.onnx", threads=1)
    at = {split.keys[i]: i for i in range(len(split))}
    pixels = np.stack([geometry(split.image(at[row["key"]]), teacher.spec) for row in rows])
    found = accuracy["domains"]["sketch"]["teacher"]
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
    told = bench.by_domain(sets, {"student_fp32": own, "student_ptq": own}, always_0)  # type: ignore[arg-type]
    assert told["domains"]["photo"] == {"student_fp32": {"n": 9, "top1": 1.0, "ci95": [0.7, 1.0]}}
    means = told["domain_mean"]
    assert (means["own"], means["domains"]) == ("photo", ["photo", "sketch", "night"])
    assert means["top1"]["student_fp32"] == pytest.approx((1 + 0.5 + 0.8) / 3)
    assert means["top1_others"]["student_fp32"] == pytest.approx((0.5 + 0.8) / 2)
