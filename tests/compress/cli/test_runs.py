"""Commands about runs and their work folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import Result
from tiny_stages import build
from typer.testing import CliRunner

from compress.cli.app import app
from compress.engine.config import Settings
from compress.engine.errors import ConfigError

COMMANDS = (["show"], ["clean"], ["verify", "--store"])


def run(command: list[str], work: Path) -> Result:
    return CliRunner().invoke(app, [*command, "--work-dir", str(work)])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["file", "pipe", "loop"])
def test_what_is_no_work_folder_is_refused(tmp_path: Path, command: list[str], kind: str) -> None:
    place = tmp_path / "work"
    if kind == "file":
        place.touch()
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(place)
    error = run(command, place).exception
    assert isinstance(error, ConfigError) and "no work folder" in str(error)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_work_folder_that_is_not_there_is_told(tmp_path: Path, command: list[str]) -> None:
    ended = run(command, tmp_path / "absent")
    assert ended.exit_code == 0 and "nothing is there yet" in ended.stderr


def test_clean_tells_a_damaged_record_and_goes_on(tmp_path: Path) -> None:
    record = build(Settings(), tmp_path, "a").folder / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "stages": ["a"]}))
    (tmp_path / "store" / "data" / ("0" * 32)).mkdir()
    ended = run(["clean"], tmp_path)
    assert ended.exit_code == 0 and "removed 1 stage folders" in ended.stdout
    assert str(record) in ended.stderr and "compress build --config" in ended.stderr


def test_show_lists_linked_and_nested_runs_by_their_names(tmp_path: Path) -> None:
    folder = build(Settings(), tmp_path / "w", "a").folder
    build(Settings(), tmp_path / "w", "exp/one")
    folder.rename(tmp_path / "far")
    folder.symlink_to(tmp_path / "far")
    lines = run(["show"], tmp_path / "w").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["a", "exp/one"]
    assert "removed 0 stage folders" in run(["clean"], tmp_path / "w").stdout


def test_a_width_of_0_is_an_unknown_one(smoke_work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    ended = run(["show", "smoke"], smoke_work)
    assert ended.exit_code == 0 and "student int8" in ended.output


def test_show_tells_the_figures_and_forgets_what_never_began(
    smoke_work: Path, tmp_path: Path
) -> None:
    rows = run(["show"], smoke_work).stdout.splitlines()
    (line,) = [row for row in rows if row.split()[0] == "smoke"]
    report = json.loads((smoke_work / "runs" / "smoke" / "report.json").read_text())
    shipped = report["student"]["shipped"]
    assert f"{100 * report['accuracy'][shipped]['top1']:.1f}\u202f%" in line
    assert "finished 20" in line and "kB" in line and "ms" in line
    folder = build(Settings(), tmp_path, "a", until="data").folder
    assert "a  stopped after data 20" in run(["show"], tmp_path).stdout
    never = tmp_path / "runs" / "b"
    never.mkdir()
    record = json.loads((folder / "run.json").read_text())
    del record["end"], record["stages"]
    (never / "run.json").write_text(json.dumps(record))
    assert [row.split()[0] for row in run(["show"], tmp_path).stdout.splitlines()] == ["a"]
    record["stages"] = {"data": "0" * 32}
    (never / "run.json").write_text(json.dumps(record))
    assert "b  unfinished" in run(["show"], tmp_path).stdout
