"""Estimates corrected by measurements, and the files that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from estimated_bench import write_bench
from report_devices import PI

from compress.budgets.calibration import Calibration, calibrate, load_calibration
from compress.budgets.costs import costs_of
from compress.budgets.devices import device
from compress.budgets.estimates import calibrated, models_of
from compress.engine.errors import BudgetError
from compress.engine.store import sha256_file


def test_a_bench_corrects_the_estimates_of_its_device_only(smoke: Path, tmp_path: Path) -> None:
    bundle = smoke / "bundle"
    path = write_bench(bundle, tmp_path, PI, 3.0, "pi5")
    fitted = calibrate(path, models_of(bundle).values())
    assert fitted.device == "pi5" and fitted.factors == pytest.approx({"fp32": 3.0, "int8": 3.0})
    assert fitted.source["sha256"] == sha256_file(path)
    assert {row["precision"] for row in fitted.source["rows"]} == {"fp32", "int8"}
    work = costs_of(bundle / "model.fp32.onnx")
    rough = calibrated(work, device("pi5"), "fp32")
    better = calibrated(work, device("pi5"), "fp32", [fitted])
    assert better.p50_ms == pytest.approx(3 * rough.p50_ms)
    assert better.to_json()["calibration"]["bench"] == "bench.json"
    assert calibrated(work, device("pi4"), "fp32", [fitted]).calibration is None


def test_a_saved_calibration_is_read_back(smoke: Path, tmp_path: Path) -> None:
    bundle = smoke / "bundle"
    path = write_bench(bundle, tmp_path, PI, 3.0, "pi5")
    fitted = calibrate(path, models_of(bundle).values())
    fitted.save(tmp_path / "saved.json")
    assert load_calibration(tmp_path / "saved.json") == fitted


def test_a_precision_that_was_not_measured_takes_the_mean_and_says_so() -> None:
    calibration = Calibration("pi5", {"fp32": 2.0, "fp16": 8.0}, {"bench": "b.json"})
    factor, source = calibration.factor("int8")
    assert factor == pytest.approx(4.0) and "not int8" in source["measured"]


def test_a_bench_of_something_else_is_refused(smoke: Path, tmp_path: Path) -> None:
    bundle = smoke / "bundle"
    models = list(models_of(bundle).values())
    path = write_bench(bundle, tmp_path, PI, 1.0, "pi5")
    with pytest.raises(BudgetError, match="none of these files"):
        calibrate(path, [])
    with pytest.raises(BudgetError, match="not of this device"):
        calibrate(path, models, "agx-orin")
    bench = json.loads(path.read_text())
    path.write_text(json.dumps({**bench, "host": {**bench["host"], "device": "Toaster"}}))
    with pytest.raises(BudgetError, match="fits no profile"):
        calibrate(path, models)
    assert calibrate(path, models, "phone-npu-mid").device == "phone-npu-mid"  # has no board name
    for content in ("{}", "[1]", "no json", json.dumps({**bench, "schema": 2})):
        path.write_text(content)
        with pytest.raises(BudgetError, match="bench"):
            calibrate(path, models, "pi5")


@pytest.mark.parametrize(
    "content", ["{}", '{"schema": 1, "device": "pi5", "factors": {"fp32": -1}, "source": {}}', "[]"]
)
def test_a_file_that_is_no_calibration_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "saved.json").write_text(content)
    with pytest.raises(BudgetError, match="calibration"):
        load_calibration(tmp_path / "saved.json")
