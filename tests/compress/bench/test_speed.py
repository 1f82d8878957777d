"""Latency, energy and kernels of exported files that really run."""

from __future__ import annotations

import time
from typing import Any

import pytest
from finished_runs import Finished

from compress.bench import speed
from compress.bench.artifact import BenchArtifact
from runtime.bench.run import NO_SENSOR
from runtime.host import sensors


def latency_of(finished: Finished) -> dict[str, Any]:
    """latency.json of a finished bench."""
    return dict(BenchArtifact(finished.stages["bench"].path).latency())


def test_latency_rows_and_speedups(finished: Finished) -> None:
    latency = latency_of(finished)
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


def test_int8_is_compared_with_static_quantization(finished: Finished) -> None:
    ratio = latency_of(finished)["speedups"]["student_int8_vs_student_ptq"]
    gate = finished.stages["bench"].facts["gates"][-1]
    assert "static quantization" in gate["what"] and gate["limit"] == 1.05
    assert gate["value"] == pytest.approx(1 / ratio["p50"])
    assert gate["passed"] == (1 / ratio["ci95"][1] <= 1.05)
    slower = [line for line in finished.report["states"] if "the time of ONNX Runtime" in line]
    assert bool(slower) == (gate["passed"] is False)


def test_every_row_carries_its_quantiles(finished: Finished) -> None:
    for row in latency_of(finished)["rows"]:
        curve = row["quantiles_ms"]
        assert len(curve) == 101 and all(a <= b for a, b in zip(curve, curve[1:], strict=False))
        assert curve[50] == row["p50_ms"], "the curve and the table are of the same calls"


def test_the_way_of_an_encoded_image_is_broken_down(finished: Finished) -> None:
    latency = latency_of(finished)
    assert set(latency["breakdown"]) == {"fp32", "int8"}
    for found in latency["breakdown"].values():
        parts = [
            found[f"{part}_ms"] for part in ("decode", "geometry", "normalise", "compute", "post")
        ]
        assert (
            all(value > 0 for value in parts)
            and max(parts) < found["end_to_end_ms"] + max(parts) / 2
        )
        assert found["n"] >= 11 and found["bare_ms"] > 0


def test_energy_comes_from_the_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter of 2 W: what each call is charged adds up to that power."""
    watts = sensors.Sensor(
        "counter", frozenset({"cpu"}), lambda: 2.0, lambda: 2.0 * time.perf_counter()
    )
    monkeypatch.setattr(speed.sensors, "sensor", lambda: watts)
    found, states = speed.energy({"student_int8": lambda: time.sleep(0.01)}, 0.1)
    cost = found["student_int8"]
    assert states == [] and cost.source == "counter"
    assert cost.mj_per_inference * cost.calls / cost.seconds == pytest.approx(2000, rel=0.05)
    silent = sensors.Sensor("broken", frozenset({"cpu"}), lambda: None)
    monkeypatch.setattr(speed.sensors, "sensor", lambda: silent)
    found, states = speed.energy({"student_int8": lambda: None}, 0.1)
    assert found == {} and states == [
        "broken gave no reading: energy of student_int8 was not measured"
    ]


def test_a_machine_without_a_sensor_says_so(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed.sensors, "sensor", lambda: None)
    monkeypatch.setattr(speed.sensors, "obstacles", lambda: [])
    assert speed.energy({"student_int8": lambda: None}, 0.1) == ({}, [NO_SENSOR])
    found = latency_of(finished)
    measured = any(row.get("energy") for row in found["rows"])
    assert measured or any(line in finished.report["states"] for line in found["states"]), (
        "never silently"
    )


def test_quantized_kernels_come_from_the_profile(finished: Finished) -> None:
    kernels = latency_of(finished)["kernels"]
    assert kernels["is_quantized"] and kernels["ran"]["QLinearConv"] == 2
