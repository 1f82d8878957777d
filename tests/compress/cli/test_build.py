"""Hosts that a build cannot run on, and what a dry run prints."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from compress.cli.app import app
from compress.engine.errors import ConfigError


def test_a_device_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["build", "--device", "cuda:77", "--work-dir", str(tmp_path)])
    assert isinstance(found.exception, ConfigError) and "--device cuda:77" in str(found.exception)
    assert not any(tmp_path.iterdir())


def test_the_command_prints_the_estimate_under_the_plan(smoke_work: Path) -> None:
    arguments = ["build", "--shots", "1", "--preset", "smoke", "--set", "distill.steps=24"]
    where = ["--work-dir", str(smoke_work), "--dry-run"]
    shown = CliRunner().invoke(app, [*arguments, *where])
    assert shown.exit_code == 0, shown.output
    text = shown.stdout.splitlines()
    first = next(number for number, line in enumerate(text) if line.startswith("estimate"))
    assert text[first].startswith("estimate   distill   24 steps · ")
    assert "measured here" in text[first] and text[first - 1].startswith(" ")
    done = CliRunner().invoke(app, [*arguments[:-2], *where])
    assert "estimate" not in done.stdout
