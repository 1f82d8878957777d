"""The README's commands exist, and its tables are the measured ones."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest
from paths import ROOT
from typer.main import get_command

from benchmarks.readme import BLOCK, filled, first_table
from compress.cli.app import app
from runtime.__main__ import _parser

README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(
    r"^    (?:pip install .* && )?(compress .*?)(?:\s+#.*)?$", README, re.MULTILINE
)


def test_tables_are_the_measured_ones() -> None:
    assert len(BLOCK.findall(README)) >= 4
    assert filled(README) == README, "run python -m benchmarks.readme"


def test_a_changed_table_is_seen(tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text("text\n| a |\n|---|\n| 1 |\n\nmore")
    text = "<!-- begin x.md table -->\n| a |\n|---|\n| 2 |\n<!-- end -->"
    assert filled(text, tmp_path) == text.replace("| 2 |", "| 1 |")
    assert first_table("no\n| a |") == "| a |\n"


def runtime_commands() -> dict[str, argparse.ArgumentParser]:
    """The commands of ``python -m runtime`` by name."""
    groups = [
        action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)
    ]
    return dict(groups[0].choices)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist_with_these_options(command: str) -> None:
    words = shlex.split(command)
    known = get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    options = {name for parameter in known.params for name in parameter.opts}
    if options == {"arguments"}:  # handed on to python -m runtime
        options = set(runtime_commands()[words[1]]._option_string_actions)
    assert {word for word in words[2:] if word.startswith("--")} <= options


def test_an_option_that_the_runtime_lacks_is_seen() -> None:
    with pytest.raises(AssertionError):
        test_commands_exist_with_these_options("compress bench bundle/ --no-such-option 3")


def test_the_two_commands_are_there() -> None:
    assert "pip install -e '.[build]' && compress build --dataset petals --shots 4" in README
    assert "pip install -e '.[dev]' && pytest" in README
    assert len(COMMANDS) >= 6
