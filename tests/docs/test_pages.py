"""The README and the pages of docs: their commands exist, their tables are the measured ones."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest
from paths import ROOT
from typer.main import get_command

from benchmarks.readme import BLOCK, filled, first_table, pages
from compress.cli.app import app
from runtime.__main__ import _parser

README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in pages()}
CODE = re.compile(r"^```(?:bash|console|sh)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
    r"^(?:    )?(?:\$ )?(?:time |pip install .* && )?(compress [a-z].*?)(?:\s+#.*)?$", re.MULTILINE
)
INDENTED = re.compile(r"^    .*$", re.MULTILINE)


def commands(text: str) -> list[str]:
    """The commands in the code blocks of a page; a backslash continues one."""
    blocks = [*CODE.findall(text), *INDENTED.findall(CODE.sub("", text.replace("\\\n", "")))]
    return [c for block in blocks for c in COMMAND.findall(block.replace("\\\n", ""))]


COMMANDS = sorted({command for text in TEXTS.values() for command in commands(text)})


@pytest.mark.parametrize("name", TEXTS)
def test_tables_are_the_measured_ones(name: str) -> None:
    assert filled(TEXTS[name]) == TEXTS[name], "run python -m benchmarks.readme"


def test_the_measured_tables_are_there() -> None:
    assert len(BLOCK.findall(README)) >= 1
    assert sum(len(BLOCK.findall(text)) for text in TEXTS.values()) >= 12


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


def test_commands_are_found_in_every_kind_of_block() -> None:
    text = "    compress list\n\n```console\n$ compress show\nruns\n```\n\ncompress is a program.\n"
    assert commands(text) == ["compress show", "compress list"]
    assert len(COMMANDS) >= 30


def test_the_readme_is_one_screen_and_a_half() -> None:
    assert len(README.splitlines()) <= 150


def test_the_two_commands_are_there() -> None:
    install = "pip install -c constraints.txt -e '.[build]'"
    assert f"{install} && compress build --dataset petals --shots 4" in README
    assert "pip install -c constraints.txt -e '.[dev]' && pytest" in README
