"""The command line as a whole: its first words, its version, and an example in every help."""

from __future__ import annotations

import shlex

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from compress.cli.app import app
from compress.engine.versions import versions

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


def test_without_a_command_it_says_what_to_do_next() -> None:
    ended = CliRunner().invoke(app, [])
    lines = ended.stdout.splitlines()
    assert ended.exit_code == 0 and len(lines) == 5
    assert all(len(line) <= 97 for line in lines)
    for line in lines[1:]:
        assert line.split()[0] == "compress" and line.split()[1] in COMMANDS


def test_version() -> None:
    ended = CliRunner().invoke(app, ["--version"])
    assert (ended.exit_code, ended.stdout) == (0, f"{versions()['clip2edge']}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_with_an_example_that_parses(name: str) -> None:
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    kind, _, example = (command.epilog or "").partition(": ")
    words = shlex.split(example)
    assert kind == "Example" and words[:2] == ["compress", name]
    command.make_context(name, words[2:])  # raises for an option that is not there


def test_short_help() -> None:
    long = CliRunner().invoke(app, ["build", "--help"])
    short = CliRunner().invoke(app, ["build", "-h"])
    assert short.exit_code == 0 and short.stdout == long.stdout
