"""Profiles, the roofline on them, and calibration: limits that have to hold, and rules that are
broken on purpose.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from report_devices import ORIN, PI, bench_json

from compress.budgets.calibration import Calibration, calibrate, load_calibration
from compress.budgets.costs import Costs, costs_of
from compress.budgets.devices import FOLDER, device, from_plain, lines, matching, names
from compress.budgets.estimates import calibrated, estimates, models_of
from compress.budgets.kernels import Kernel
from compress.budgets.roofline import estimate
from compress.budgets.table import blocks, head
from compress.cli.app import app
from compress.engine.errors import BudgetError, ConfigError
from compress.engine.store import sha256_file

WANTED = {
    "orin-nano",
    "orin-nano-super",
    "orin-nx",
    "agx-orin",
    "thor",
    "xavier-nx",
    "pi4",
    "pi5",
    "host",
    "phone-npu-high",
    "phone-npu-mid",
    "phone-npu-entry",
}
GIGA = 1e9


def kernel(
    ops: float = GIGA,
    kind: str = "dense",
    precision: str = "fp32",
    moved: float = 0.0,
    weights: float = 0.0,
) -> Kernel:
    return Kernel(
        "Conv", "node", "block", kind, precision, int(ops / 2), ops, weights, moved / 2, moved / 2
    )


def costs(*kernels: Kernel) -> Costs:
    return Costs(kernels, (1, 3, 8, 8), 1e6, ())


def test_every_device_of_the_issue_is_there_and_every_number_has_a_source() -> None:
    assert set(names()) == WANTED and len(lines()) == len(WANTED)
    for name in WANTED:
        profile = device(name)
        assert (
            profile.peak["fp32"] <= profile.rate("int8") / profile.utilization["dense"]
            or "int8" not in profile.peak
        )
        assert profile.sources["peak_tops"] and profile.sources["utilization"]
        assert profile.rate("int8", "depthwise") <= profile.rate("int8", "dense") * 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sources": {}}, "without a source"),
        ({"peak_tops": {"fp32": 0.0}}, "not positive"),
        ({"peak_tops": {"int8": 1.0}}, "peak of fp32"),
        ({"utilization": {"dense": 0.5}}, "utilization"),
        ({"tops": 3}, "tops"),
        ({"bandwidth_gb_s": -1.0}, "not positive"),
    ],
)
def test_a_profile_that_breaks_a_rule_is_refused(change: dict, says: str) -> None:
    plain = yaml.safe_load((FOLDER / "orin-nano.yaml").read_text())
    assert from_plain("x", plain).title
    with pytest.raises(ConfigError, match=says):
        from_plain("x", {**plain, **change})


def test_an_unknown_device_names_the_nearest() -> None:
    with pytest.raises(BudgetError, match="did you mean 'pi5'"):
        device("pi6")


def test_boards_are_known_by_their_own_names() -> None:
    assert matching(PI["device"]) == ["pi5"] and set(matching(ORIN["device"])) == {
        "orin-nano",
        "orin-nano-super",
    }
    assert (
        matching("NVIDIA Jetson AGX Orin Developer Kit") == ["agx-orin"]
        and matching(None) == matching("Toaster") == []
    )


def test_the_longer_of_computing_and_moving_counts() -> None:
    where = replace(device("pi5"), overhead_s=0.0, fixed_s=0.0)
    compute = 1e3 * GIGA / (where.peak["fp32"] * where.utilization["dense"])
    assert estimate(costs(kernel()), where, "fp32").p50_ms == pytest.approx(compute)
    moved = 1e3 * 1e9 / (where.bandwidth * where.utilization["memory"])
    told = estimate(costs(kernel(ops=1.0, moved=1e9)), where, "fp32")
    assert (
        told.p50_ms == pytest.approx(moved)
        and told.rows[0].bound == "memory"
        and told.bound["memory"] == 1.0
    )
    near = estimate(costs(kernel(ops=1.0, moved=1e5)), where, "fp32").p50_ms
    assert near == pytest.approx(1e3 * 1e5 / (where.cache_bandwidth * where.utilization["memory"]))


def test_overhead_is_per_kernel_and_fixed_per_image() -> None:
    where = device("orin-nano")
    one, three = (estimate(costs(*[kernel(ops=0.0)] * n), where, "fp16").p50_ms for n in (1, 3))
    assert three - one == pytest.approx(2e3 * where.overhead_s)
    assert one == pytest.approx(1e3 * (where.overhead_s + where.fixed_s))


def test_narrower_is_never_slower_and_a_missing_precision_is_computed_in_float() -> None:
    work = costs(kernel(moved=1e7, weights=1e7), kernel(kind="depthwise", moved=1e7))
    for name in ("orin-nano", "thor", "xavier-nx", "phone-npu-high"):
        assert (
            estimate(work, device(name), "fp16").p50_ms
            < estimate(work, device(name), "fp32").p50_ms
        )
    assert device("pi5").computes("fp16") == "fp32"
    assert (
        estimate(work, device("pi5"), "fp16").p50_ms == estimate(work, device("pi5"), "fp32").p50_ms
    )
    int8 = costs(kernel(precision="int8"))
    assert (
        estimate(int8, device("pi5"), "int8").p50_ms
        < estimate(costs(kernel()), device("pi5"), "fp32").p50_ms
    )


def test_an_estimate_always_says_that_it_is_one() -> None:
    told = estimate(costs(kernel()), device("orin-nano"), "fp16")
    assert told.to_json()["basis"] == "estimate" and told.to_json()["calibration"] is None
    assert (
        told.value("p99") is None and told.value("load") is None
    )  # a roofline knows no tail and no start
    assert told.energy_mj == pytest.approx(15.0 * told.p50_ms)
    assert any("factor of two" in line for line in head(device("orin-nano"), {"fp16": told}))


def bench_of(bundle: Path, tmp_path: Path, host: dict, factor: float, name: str) -> Path:
    """A bench.json whose medians are ``factor`` times the estimates of the bundle's files."""
    told = bench_json(bundle, host)
    for row in told["rows"]:
        if row["model"] != "teacher" and row["includes"] == "compute":
            file = bundle / f"model.{row['precision']}.onnx"
            row["p50_ms"] = factor * estimate(costs_of(file), device(name), row["precision"]).p50_ms
            row["file_sha256"] = sha256_file(file)
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(told))
    return path


def test_a_bench_corrects_the_estimates_of_its_device(smoke: Path, tmp_path: Path) -> None:
    bundle = smoke / "bundle"
    path = bench_of(bundle, tmp_path, PI, 3.0, "pi5")
    found = calibrate(path, models_of(bundle).values())
    assert found.device == "pi5" and found.factors == pytest.approx({"fp32": 3.0, "int8": 3.0})
    assert found.source["sha256"] == sha256_file(path) and {
        row["precision"] for row in found.source["rows"]
    } == {"fp32", "int8"}
    work = costs_of(bundle / "model.fp32.onnx")
    plain, better = (
        calibrated(work, device("pi5"), "fp32"),
        calibrated(work, device("pi5"), "fp32", [found]),
    )
    assert (
        better.p50_ms == pytest.approx(3 * plain.p50_ms)
        and better.to_json()["calibration"]["bench"] == "bench.json"
    )
    assert (
        calibrated(work, device("pi4"), "fp32", [found]).calibration is None
    )  # another device's is not used
    found.save(tmp_path / "saved.json")
    assert load_calibration(tmp_path / "saved.json") == found


def test_a_precision_that_was_not_measured_says_so() -> None:
    factor, source = Calibration("pi5", {"fp32": 2.0, "fp16": 8.0}, {"bench": "b.json"}).factor(
        "int8"
    )
    assert factor == pytest.approx(4.0) and "not int8" in source["measured"]


def test_a_bench_of_something_else_is_refused(smoke: Path, tmp_path: Path) -> None:
    bundle = smoke / "bundle"
    models = list(models_of(bundle).values())
    path = bench_of(bundle, tmp_path, PI, 1.0, "pi5")
    with pytest.raises(BudgetError, match="none of these files"):
        calibrate(path, [])
    with pytest.raises(BudgetError, match="not of this device"):
        calibrate(path, models, "agx-orin")
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "host": {**told["host"], "device": "Toaster"}}))
    with pytest.raises(BudgetError, match="fits no profile"):
        calibrate(path, models)
    for content in ("{}", "[1]", "no json", json.dumps({**told, "schema": 2})):
        path.write_text(content)
        with pytest.raises(BudgetError, match="bench"):
            calibrate(path, models, "pi5")
    for content in (
        "{}",
        '{"schema": 1, "device": "pi5", "factors": {"fp32": -1}, "source": {}}',
        "[]",
    ):
        path.write_text(content)
        with pytest.raises(BudgetError, match="calibration"):
            load_calibration(path)


def test_a_bundle_is_estimated_with_the_files_of_the_device(smoke: Path) -> None:
    models = models_of(smoke / "bundle")
    assert list(estimates(models, device("orin-nano"))) == ["fp32", "fp16", "int8"]
    assert list(estimates(models, device("pi5"))) == ["fp32", "int8"]
    told = estimates(models, device("orin-nano"))
    assert told["fp16"].weight_bytes == pytest.approx(told["fp32"].weight_bytes / 2)
    rows = blocks(told["int8"])
    assert sum(row.kernels for row in rows) == len(told["int8"].rows) and "layers.0" in {
        row.name for row in rows
    }
    with pytest.raises(BudgetError, match="nothing to estimate"):
        models_of(smoke / "report.json")


def test_the_command_prints_and_saves(smoke: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    run, bundle = CliRunner(), smoke / "bundle"
    shown = run.invoke(app, ["estimate", str(bundle), "--device", "orin-nano"])
    assert (
        shown.exit_code == 0
        and "ESTIMATE for orin-nano" in shown.stdout
        and "bound by" in shown.stdout
    )
    path, saved = bench_of(bundle, tmp_path, PI, 2.0, "pi5"), tmp_path / "saved.json"
    shown = run.invoke(
        app,
        [
            "estimate",
            str(bundle),
            "--device",
            "pi5",
            "--calibrate",
            str(path),
            "--save",
            str(saved),
        ],
    )
    assert (
        shown.exit_code == 0
        and "Scaled by what bench.json measured" in shown.stdout
        and saved.exists()
    )
    told = run.invoke(
        app, ["estimate", str(bundle), "--device", "pi5", "--calibration", str(saved), "--json"]
    )
    assert json.loads(told.stdout)["estimates"]["fp32"]["factor"] == pytest.approx(2.0)
    assert isinstance(
        run.invoke(app, ["estimate", str(bundle), "--save", "x.json"]).exception, ConfigError
    )
    assert isinstance(
        run.invoke(app, ["estimate", str(bundle), "--precision", "fp61"]).exception, BudgetError
    )
