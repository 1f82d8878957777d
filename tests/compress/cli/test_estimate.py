"""``compress estimate``: what it prints, saves and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from estimated_bench import write_bench
from report_devices import PI
from typer.testing import CliRunner

from compress.budgets.calibration import Calibration, load_calibration
from compress.cli.app import app
from compress.engine.errors import BudgetError, ConfigError


def estimate(bundle: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["estimate", str(bundle), *options])


def test_estimates_and_the_blocks_of_one_are_printed(smoke: Path) -> None:
    shown = estimate(smoke / "bundle", "--device", "orin-nano")
    assert shown.exit_code == 0
    assert "ESTIMATE for orin-nano" in shown.stdout and "bound by" in shown.stdout


def test_a_calibration_is_saved_and_used_again(smoke: Path, tmp_path: Path) -> None:
    bundle, saved = smoke / "bundle", tmp_path / "saved.json"
    path = write_bench(bundle, tmp_path, PI, 2.0, "pi5")
    fitting = ("--calibrate", str(path), "--save", str(saved))
    shown = estimate(bundle, "--device", "pi5", *fitting)
    assert shown.exit_code == 0 and saved.exists()
    assert "Scaled by what bench.json measured" in shown.stdout
    shown = estimate(bundle, "--device", "pi5", "--calibration", str(saved), "--json")
    assert json.loads(shown.stdout)["estimates"]["fp32"]["factor"] == pytest.approx(2.0)


def test_a_place_for_the_calibration_is_checked_first_and_a_link_stays(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    fitting = ("--calibrate", str(absent), "--save")
    assert isinstance(estimate(absent, *fitting, str(tmp_path)).exception, IsADirectoryError)
    saved = tmp_path / "link.json"
    saved.symlink_to("real.json")
    Calibration("pi5", {"fp32": 2.0}, {}).save(saved)
    assert saved.is_symlink() and load_calibration(tmp_path / "real.json").device == "pi5"


def test_options_that_do_not_fit_are_refused(smoke: Path) -> None:
    assert isinstance(estimate(smoke / "bundle", "--save", "x.json").exception, ConfigError)
    assert isinstance(estimate(smoke / "bundle", "--precision", "fp61").exception, BudgetError)
