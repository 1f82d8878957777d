"""bench on real tiny bundles: every figure of bench.json is there, or says why not. No test depends
on speed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_bundles import LABELS, SIZE

from runtime import BackendError, BundleError
from runtime.bench import file as bench_file
from runtime.bench.breakdown import STAGES
from runtime.bench.latency import COMPUTE, END_TO_END
from runtime.bench.report import BenchReport
from runtime.bench.run import NO_SENSOR, bench
from runtime.bench.text import lines
from runtime.bundle import sha256_of
from runtime.host import sensors


@pytest.fixture(scope="module")
def report(bundle: Path, teacher_bundle: Path) -> BenchReport:
    return bench(
        bundle,
        teacher=teacher_bundle,
        seconds=0.2,
        batch=[1, 4],
        threads=[1, 2],
        sustained=1.5,
        command="as typed",
    )


def test_rows_of_every_batch_thread_count_and_entry(report: BenchReport) -> None:
    combinations = {
        (row.model, row.precision, row.batch, row.threads, row.includes) for row in report.rows
    }
    names = {("petals", "fp32"), ("petals", "int8"), ("teacher", "fp32")}
    expected = {
        (*name, batch, threads, COMPUTE) for name in names for batch in (1, 4) for threads in (1, 2)
    }
    assert combinations == expected | {(*name, 1, 1, END_TO_END) for name in names}
    assert len(report.rows) == len(combinations)


def test_a_row_carries_what_a_figure_has_to_be_read_with(report: BenchReport, bundle: Path) -> None:
    row = next(row for row in report.rows if row.precision == "int8" and row.includes == COMPUTE)
    assert row.n >= 11 and row.p50_ms is not None and row.quantiles_ms is not None
    assert len(row.quantiles_ms) == 101 and row.quantiles_ms == sorted(row.quantiles_ms)
    assert row.quantiles_ms[50] == row.p50_ms
    assert row.file_sha256 == sha256_of(bundle / "model.int8.onnx")
    assert row.kernels["QLinearConv"] == 2 == report.kernels["int8"]["QLinearConv"]
    assert row.nodes == {"CPUExecutionProvider": sum(row.kernels.values())}
    assert row.load_ms and row.first_ms and row.peak_rss_bytes == report.cold["int8"].peak_rss_bytes
    assert row.images_per_second and row.versions["onnxruntime"]


def test_a_batch_counts_its_images(report: BenchReport) -> None:
    for row in report.rows:
        assert (
            row.images_per_second is not None
            and row.p50_ms is not None
            and row.quantiles_ms is not None
        )
        slowest, fastest = row.quantiles_ms[-1], row.quantiles_ms[0]
        assert row.batch * 1e3 / slowest <= row.images_per_second * 1.001
        assert row.images_per_second <= row.batch * 1e3 / fastest * 1.001


def test_speedups_are_against_the_teacher_and_of_int8_against_fp32(report: BenchReport) -> None:
    places = ["", "@batch4", "@threads2", "@batch4,threads2", "@end_to_end"]
    pairs = ["fp32_vs_teacher", "int8_vs_teacher", "int8_vs_fp32"]
    assert set(report.speedups) == {pair + place for pair in pairs for place in places}
    for name, value in report.speedups.items():
        assert value.ci95[0] <= value.ci95[1] and value.rounds >= 11, name


def test_the_breakdown_adds_up_to_the_end(report: BenchReport) -> None:
    for part in report.breakdown.values():
        stages = [getattr(part, f"{stage}_ms") for stage in STAGES]
        assert all(value >= 0 for value in stages) and part.n >= 11 and part.bare_ms > 0
        assert part.over_bare_ci95[0] <= part.over_bare_ci95[1]


def test_a_sustained_run_of_the_default_model(report: BenchReport) -> None:
    assert report.sustained and report.sustained_of == "int8"
    assert [window.t_s for window in report.sustained] == sorted(
        window.t_s for window in report.sustained
    )
    assert report.sustained[-1].t_s >= 1.5


def test_the_file_is_the_report_and_is_read_back(
    report: BenchReport, bundle: Path, tmp_path: Path
) -> None:
    content = report.to_json()
    again = bench_file.read(bench_file.write(tmp_path / "bench.json", content))
    assert again == json.loads(json.dumps(content))
    assert (again["command"], again["mode"], again["schema"]) == ("as typed", "quick", 1)
    assert again["bundle"] == {
        "name": "petals",
        "manifest_sha256": sha256_of(bundle / "manifest.json"),
        "default": "int8",
    }
    assert again["teacher"]["name"] == "vit" and again["rules"] is None
    assert list(tmp_path.iterdir()) == [tmp_path / "bench.json"], "no temporary file is left"


def test_mlperf_keeps_its_floors_and_says_what_it_did_not_meet(bundle: Path) -> None:
    found = bench(bundle, ["fp32", "int8"], mode="mlperf", seconds=0.05, threads=1, batch=[1, 2])
    rows = [row for row in found.rows if row.includes == COMPUTE]
    assert all(row.n >= 662 and row.p99_ms is not None for row in rows if row.batch == 1)
    assert all(
        row.early_stopping_ms and row.early_stopping_ms["p99"] for row in rows if row.batch == 1
    )
    for row in rows:
        if row.batch == 1:
            assert row.early_stopping_ms["p90"] >= row.p90_ms  # type: ignore[index, operator]
    assert sum("MLPerf asks for 600" in state for state in found.states) == 4
    assert found.to_json()["rules"]["does_not_follow"]


def test_without_a_sensor_energy_is_null_and_said(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "sensor", lambda unit: None)
    monkeypatch.setattr(sensors, "obstacles", lambda: [])
    found = bench(bundle, ["int8"], seconds=0.05, threads=1)
    assert all(row.energy is None for row in found.rows) and found.states == [NO_SENSOR]
    monkeypatch.setattr(
        sensors, "obstacles", lambda: ["RAPL counts energy but only for root: sudo"]
    )
    assert bench(bundle, ["int8"], seconds=0.05, threads=1).states == [
        "RAPL counts energy but only for root: sudo"
    ]


def test_with_a_sensor_every_compute_row_has_its_energy(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rail = sensors.Sensor("INA3221 VDD_IN", sensors.BOTH, lambda: 4.0)
    monkeypatch.setattr(sensors, "sensor", lambda unit: rail)
    content = bench(bundle, ["int8"], seconds=0.05, threads=1).to_json()
    assert bench_file.read(bench_file.write(tmp_path / "b.json", content))["states"] == []
    energy = {row["includes"]: row["energy"] for row in content["rows"]}
    assert energy[END_TO_END] is None and energy[COMPUTE]["source"] == "INA3221 VDD_IN"
    assert energy[COMPUTE]["watts"] == pytest.approx(4.0, rel=0.05)
    assert "mJ per inference" in "\n".join(lines(bench_file.parse(BenchReport, content)))


def test_a_failed_cold_start_is_recorded_and_the_rest_measured(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.bench.cold.PROGRAM", "raise MemoryError('no room')")
    found = bench(bundle, ["int8"], seconds=0.05, threads=1)
    assert found.cold == {} and found.rows[0].load_ms is None and found.rows[0].p50_ms
    assert any(
        state.startswith("cold start of int8 was not measured") and "no room" in state
        for state in found.states
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"batch": 0},
        {"batch": []},
        {"batch": 5000},
        {"seconds": 0},
        {"seconds": float("nan")},
        {"seconds": 1e9},
        {"threads": []},
        {"threads": [0]},
        {"mode": "fast"},
        {"sustained": 0},
        {"sustained": float("inf")},
        {"backend": "abacus"},
        {"provider": "abacus"},
        {"models": ["fp64"]},
        {"affinity": [4095]},
    ],
)
def test_what_cannot_be_measured_is_refused(bundle: Path, bad: dict[str, object]) -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises((BackendError, BundleError)):
        bench(bundle, **bad)  # type: ignore[arg-type]
    assert os.sched_getaffinity(0) == before


class GpuRunner:
    """An engine on a GPU, as TensorRT's is seen from here; its numbers are not looked at."""

    provider, threads, versions, outputs, input_size, takes = (
        "TensorRT",
        1,
        {"tensorrt": "10.3"},
        ("logits",),
        SIZE,
        "tensor",
    )
    max_batch = 4
    kernels, states = {"int8 compute": 2, "fp32 reformat": 1}, ("engine built here",)

    def __init__(self) -> None:
        self.timed: list[tuple[tuple[int, ...], int]] = []

    def run(self, images: np.ndarray, output: str = "logits") -> np.ndarray:
        return np.zeros((len(images), len(LABELS)), np.float32)

    def run_all(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        return {name: self.run(images, name) for name in outputs}

    def device_ms(self, images: np.ndarray, calls: int = 1) -> list[float]:
        self.timed.append((images.shape, calls))
        return [0.25] * calls


def test_an_engine_on_a_gpu_tells_its_own_kernels_and_time(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Which model it takes, whose power is asked, what its layers are, and its events beside the
    host's clock.
    """
    from runtime import backends, classifier
    from runtime.bench.cold import Cold

    runner, asked = GpuRunner(), []
    monkeypatch.setitem(
        backends.BACKENDS,
        "gpu",
        replace(backends.BACKENDS["tensorrt"], module="nowhere", models={"int8": "fp32"}),
    )
    monkeypatch.setattr(classifier, "load_model", lambda name, model, **options: runner)
    monkeypatch.setattr(
        "runtime.bench.run.measure_cold",
        lambda *args, **options: Cold(1.0, 1.0, 1.0, 1.0, None, ()),
    )
    monkeypatch.setattr(sensors, "sensor", lambda unit: asked.append(unit))
    found = bench(bundle, ["int8"], backend="gpu", seconds=0.05, batch=[1, 4, 8])
    assert {row.precision for row in found.rows} == {"fp32"}, "the engine's own file of int8"
    assert set(asked) == {"gpu"} and runner.timed == [
        ((1, 3, SIZE, SIZE), 101),
        ((4, 3, SIZE, SIZE), 101),
    ]
    compute = [row for row in found.rows if row.includes == COMPUTE]
    assert [row.device_p50_ms for row in compute] == [0.25, 0.25, None], (
        "8 is more than its profile takes"
    )
    assert found.rows[-1].device_p50_ms is None
    assert (
        found.kernels == {"fp32": {"int8 compute": 2, "fp32 reformat": 1}}
        and "fp32: engine built here" in found.states
    )
    assert "0.250 ms on the device alone" in "\n".join(lines(found))
    assert (
        bench_file.read(bench_file.write(tmp_path / "b.json", found.to_json()))["rows"][0]["nodes"]
        is None
    )
