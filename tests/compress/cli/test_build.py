"""Hosts that a build cannot run on."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from compress.cli.app import app
from compress.engine.errors import ConfigError


def test_a_device_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["build", "--device", "cuda:77", "--work-dir", str(tmp_path)])
    assert isinstance(found.exception, ConfigError) and "--device cuda:77" in str(found.exception)
    assert not any(tmp_path.iterdir())
