"""bench on real tiny bundles: every figure of bench.json is there, or says why not. No test depends
on speed.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundles import LABELS, SIZE, SPEC, encoded, float_model, make_bundle, photo

from export.bundle.write import copy_with_metadata, write_bundle
from runtime import BackendError, BundleError, Classifier, ImageError
from runtime.__main__ import main
from runtime.bench import file as bench_file
from runtime.bench.breakdown import STAGES, break_down
from runtime.bench.contenders import contenders, photos
from runtime.bench.run import COMPUTE, END_TO_END, NO_SENSOR, BenchReport, bench
from runtime.bench.sustained import Window, slowdown, sustain
from runtime.bench.text import lines
from runtime.bundle import sha256_of
from runtime.classifier import META_LABELS, META_PRECISION, META_PREPROCESS
from runtime.host import sensors
from runtime.host.telemetry import Reading


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(
        tmp_path_factory.mktemp("built") / "petals", tmp_path_factory.mktemp("scratch")
    )


@pytest.fixture(scope="module")
def teacher_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ordinary bundle, as ``compress export --teacher`` writes one."""
    folder = tmp_path_factory.mktemp("teacher") / "vit"
    models = {"fp32": float_model(tmp_path_factory.mktemp("scratch") / "t.onnx", seed=5)}
    write_bundle(folder, models, SPEC, LABELS, {}, [encoded(photo(1))], "# teacher\n", "fp32")
    return folder


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that describes itself, as the export stage writes the teacher."""
    folder = tmp_path_factory.mktemp("file")
    metadata = {
        META_LABELS: json.dumps([row["name"] for row in LABELS]),
        META_PREPROCESS: json.dumps(SPEC.to_json()),
        META_PRECISION: "fp32",
    }
    copy_with_metadata(
        float_model(folder / "raw.onnx", seed=5), folder / "model.fp32.onnx", metadata
    )
    return folder / "model.fp32.onnx"


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


def test_rows_of_every_batch_thread_count_and_contender(report: BenchReport) -> None:
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
        assert value.low <= value.high and value.rounds >= 11, name


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


def test_a_teacher_may_be_one_file(bundle: Path, teacher_file: Path) -> None:
    found = bench(bundle, ["int8"], teacher=teacher_file, seconds=0.05, threads=1).to_json()
    assert {row["model"] for row in found["rows"]} == {"petals", "teacher"}
    assert found["teacher"] == {"name": "model.fp32.onnx", "file_sha256": sha256_of(teacher_file)}
    assert set(found["speedups"]) == {"int8_vs_teacher", "int8_vs_teacher@end_to_end"}


def test_a_teacher_that_is_neither_is_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="teacher"):
        bench(bundle, teacher=tmp_path / "nothing.onnx")
    bare = float_model(tmp_path / "bare.onnx")
    with pytest.raises(BundleError, match="does not describe itself"):
        bench(bundle, teacher=bare, seconds=0.05, threads=1)


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
    assert "mJ per inference" in "\n".join(lines(content))


def test_a_model_that_nobody_asked_for_and_that_does_not_load_is_said(
    bundle: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(bundle, tmp_path / "bundle")
    model = (
        (broken / "model.fp32.onnx")
        .read_bytes()
        .replace(b"GlobalAveragePool", b"GlobalAveragePoul")
    )
    (broken / "model.fp32.onnx").write_bytes(model)
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["files"]["model.fp32.onnx"] = {
        "bytes": len(model),
        "sha256": sha256_of(broken / "model.fp32.onnx"),
    }
    (broken / "manifest.json").write_text(json.dumps(manifest))
    found = bench(broken, seconds=0.05, threads=1)
    assert {row.precision for row in found.rows} == {"int8"}
    assert any(
        state.startswith("fp32 was not timed: onnxruntime cannot load") for state in found.states
    )
    with pytest.raises(BackendError, match="cannot load"):
        bench(broken, ["fp32"], seconds=0.05, threads=1)


def test_a_cold_process_that_fails_costs_nothing_else(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.bench.cold.PROGRAM", "raise MemoryError('no room')")
    found = bench(bundle, ["int8"], seconds=0.05, threads=1)
    assert found.cold == {} and found.rows[0].load_ms is None and found.rows[0].p50_ms
    assert any(
        state.startswith("cold start of int8 was not measured") and "no room" in state
        for state in found.states
    )


def test_a_bundle_called_teacher_is_not_mistaken_for_it(bundle: Path, tmp_path: Path) -> None:
    from runtime.bundle import open_bundle

    renamed = open_bundle(shutil.copytree(bundle, tmp_path / "teacher"))
    assert [entry.model for entry in contenders(renamed, ["int8"], bundle)] == [
        "student",
        "teacher",
    ]
    assert [entry.model for entry in contenders(renamed, ["int8"], None)] == ["teacher"]


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


def test_images_of_the_user(bundle: Path, tmp_path: Path) -> None:
    from runtime.bundle import open_bundle

    opened = open_bundle(bundle)
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_bytes(encoded(photo(index), "JPEG"))
    (tmp_path / "notes.txt").write_text("no image")
    found, about = photos(opened, tmp_path)
    assert len(found) == 3 and about.startswith("3 images, the first 48 x 40 JPEG")
    one, about = photos(opened, tmp_path / "1.jpg")
    assert one == [found[1]] and "JPEG" in about
    row = bench(bundle, ["int8"], seconds=0.05, threads=1, images=tmp_path).rows[-1]
    assert row.includes == END_TO_END and row.image is not None and row.image.startswith("3 images")
    (tmp_path / "4.png").write_bytes(b"no png")
    with pytest.raises(ImageError, match=r"4\.png"):
        photos(opened, tmp_path)
    with pytest.raises(ImageError, match="no image in"):
        photos(opened, (tmp_path / "empty").mkdir() or tmp_path / "empty")


def test_the_golden_image_is_shown_as_jpeg(bundle: Path) -> None:
    from runtime.bundle import open_bundle

    (data,), about = photos(open_bundle(bundle))
    assert data[:2] == b"\xff\xd8" and about.endswith("made of a golden image"), (
        "the golden image of this one is a PNG"
    )


def test_stages_are_the_steps_of_predict(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stage is slowed down on purpose: the breakdown must blame it and no other."""
    import time

    from runtime import preprocess
    from runtime.bench import breakdown

    classifier = Classifier.load(bundle, "int8", threads=1)
    data = [encoded(photo(1), "JPEG")]

    def slow(image: Image.Image, spec: object) -> np.ndarray:
        time.sleep(0.02)
        return preprocess.geometry(image, spec)  # type: ignore[arg-type]

    monkeypatch.setattr(breakdown, "geometry", slow)
    found, whole = break_down({"int8": classifier}, data, 0.05)
    part = found["int8"]
    assert (
        part.geometry_ms > 20
        and sum((part.decode_ms, part.normalise_ms, part.compute_ms, part.post_ms)) < 20
    )
    assert whole["int8"].n == part.n


def test_a_model_that_takes_pixels_is_fed_with_pixels(bundle: Path) -> None:
    """Its normalization is inside: the stage must cost nothing and the engine must get bytes."""
    classifier = Classifier.load(bundle, "fp32", threads=1)

    class Pixels:
        provider, threads, versions, outputs, input_size, takes = (
            "x",
            1,
            {},
            ("logits",),
            SIZE,
            "pixels",
        )

        def run(self, images: np.ndarray, output: str = "logits") -> np.ndarray:
            assert images.dtype == np.uint8 and images.shape[1:] == (SIZE, SIZE, 3)
            return np.zeros((len(images), len(LABELS)), np.float32)

    item = Classifier(Pixels(), classifier.label_rows, classifier.spec, "int8.u8in", "x")  # type: ignore[arg-type]
    found, _ = break_down({"p": item}, [encoded(photo(1), "JPEG")], 0.05)
    assert found["p"].n >= 11


def test_windows_follow_the_heat() -> None:
    now = [0.0]

    def call() -> None:
        now[0] += 0.1 if now[0] < 30 else 0.2

    seen = iter(range(1000))
    windows = sustain(
        call,
        60,
        clock=lambda: now[0],
        look=lambda: Reading(clock_mhz=2000.0 - next(seen), temperature_c=50.0),
    )
    assert 50 <= len(windows) <= 61 and windows[0].p50_ms == pytest.approx(100)
    assert windows[-1].p50_ms == pytest.approx(200) and slowdown(windows) == pytest.approx(1.0)
    clocks = [window.clock_mhz for window in windows]
    assert clocks == sorted(clocks, reverse=True) and windows[0].watts is None  # type: ignore[type-var]


def test_a_window_has_at_least_one_call_and_a_run_at_least_one_window() -> None:
    now = [0.0]

    def call() -> None:
        now[0] += 100.0

    (window,) = sustain(call, 5, clock=lambda: now[0], look=Reading)
    assert window.n == 1 and slowdown([window]) == 0.0


def test_slowdown_is_of_the_ends() -> None:
    base = Window(0, 1.0, 5, None, None, None)
    assert slowdown([replace(base, p50_ms=float(i)) for i in range(10, 31)]) == pytest.approx(
        29.5 / 10.5 - 1
    )


def test_command_line_writes_merges_and_explains(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "bench.json"
    one = min(os.sched_getaffinity(0))
    arguments = [
        "--seconds",
        "0.05",
        "--threads",
        "1",
        "--models",
        "int8",
        "--affinity",
        str(one),
        "--out",
        str(out),
    ]
    assert main(["bench", str(bundle), *arguments]) == 0
    text = capsys.readouterr().out
    assert "predict" in text and "2 QLinearConv" in text and "cold process" in text
    other = {**bench_file.read(out), "host": {"device": "NVIDIA Jetson Orin Nano"}}
    bench_file.write(tmp_path / "other.json", other)
    assert main(["bench", "--merge", str(out), str(tmp_path / "other.json")]) == 0
    table = capsys.readouterr().out.splitlines()
    assert sum("NVIDIA Jetson Orin Nano" in line for line in table) == 2 and table[0].startswith(
        "device"
    )
    assert main(["bench", "--merge", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["kind"] == bench_file.KIND
    for wrong in (
        ["bench"],
        ["bench", str(bundle), "--provider-option", "x"],
        ["bench", "--merge", str(tmp_path)],
    ):
        assert main(wrong) == 2
        assert capsys.readouterr().err.startswith("error: ")


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

    def device_ms(self, images: np.ndarray, calls: int = 1) -> list[float]:
        self.timed.append((images.shape, calls))
        return [0.25] * calls


def test_an_engine_on_a_gpu_tells_its_own_kernels_and_time_logic_without_gpu(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Which model it takes, whose power is asked, what its layers are, and its events beside the
    host's clock.
    """
    from runtime import backends, classifier
    from runtime.bench.cold import Cold

    runner, asked = GpuRunner(), []
    monkeypatch.setitem(backends.BACKENDS, "gpu", backends.Backend("nowhere", {"int8": "fp32"}))
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
    assert "0.250 ms on the device alone" in "\n".join(lines(found.to_json()))
    assert (
        bench_file.read(bench_file.write(tmp_path / "b.json", found.to_json()))["rows"][0]["nodes"]
        is None
    )
