"""The table of `compress compare`, and the files that it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from compress.cli.app import app


def test_the_command_prints_a_table_and_writes_a_page(smoke: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(smoke, tmp_path / "work" / "runs" / name)
    command = ["compare", "one", "two", "--work-dir", str(tmp_path / "work")]
    ended = CliRunner(env={"COLUMNS": "140"}).invoke(app, [*command, "--out", str(tmp_path / "o")])
    assert ended.exit_code == 0, ended.output
    assert "one" in ended.stdout and "not told apart" in ended.stdout
    assert "differences are to one" in ended.stdout
    stored = json.loads((tmp_path / "o" / "comparison.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in stored["runs"]] == ["one", "two"]
    assert (tmp_path / "o" / "comparison.html").read_text(encoding="utf-8").count("<h1>") == 1
    as_json = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(as_json.stdout) == stored


def test_an_occupied_target_is_told_before_the_work(smoke: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = ["compare", "a", "b", "--work-dir", str(tmp_path), "--out", str(tmp_path / "file")]
    assert "file" in str(CliRunner().invoke(app, command).exception)
