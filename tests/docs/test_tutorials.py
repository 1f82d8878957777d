"""Blocks of commands that show output: run as they stand, or marked with what they need.

A marker stands on the line above a ``console`` block: ``<!-- run -->``, or ``<!-- needs ... -->``.
Blocks of a page share a folder, in which ``work/runs/smoke`` is a finished build. A line ``...``
stands for any lines; numbers may differ, since they are measured.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT

from benchmarks.readme import pages

BLOCK = re.compile(r"^([^\n]*)\n```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
MARKER = re.compile(r"<!-- (?:run|needs \w.*) -->")
FILE = re.compile(r"<!-- file (\S+) -->\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\d.,]*")
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in pages()}
RUN = [name for name, text in TEXTS.items() if "\n<!-- run -->\n" in text]


def calls(block: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a block, each with the lines of output below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *lines = part.splitlines()
        yield command, lines


def plain(line: str) -> str:
    """A line of output without what a measurement decides: numbers, and the space around them."""
    return re.sub(r"[\s─]+", " ", NUMBER.sub("#", line)).strip()


def fits(shown: list[str], printed: list[str]) -> bool:
    """Whether what is shown is what was printed; ``...`` stands for any lines, also for none."""
    lines = [re.escape(plain(line)) + "\n" for line in shown if plain(line)]
    pattern = "".join("(?:.*\n)*?" if line == re.escape("...") + "\n" else line for line in lines)
    text = "".join(plain(line) + "\n" for line in printed if plain(line))
    return re.fullmatch(pattern, text) is not None


@pytest.mark.parametrize("name", TEXTS)
def test_every_block_with_output_is_run_or_says_what_it_needs(name: str) -> None:
    unmarked = [block for above, block in BLOCK.findall(TEXTS[name]) if not MARKER.match(above)]
    assert not unmarked


def test_there_are_blocks_to_run() -> None:
    assert len(RUN) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_commands_print_what_the_page_shows(name: str, smoke_work: Path, tmp_path: Path) -> None:
    shutil.copytree(smoke_work, tmp_path / "work", symlinks=True)
    for file, text in FILE.findall(TEXTS[name]):
        (tmp_path / file).write_text(text, encoding="utf-8")
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": tools, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    for above, block in BLOCK.findall(TEXTS[name]):
        if above == "<!-- run -->":
            for command, shown in calls(block):
                done = subprocess.run(
                    ["bash", "-c", f"{command} 2>&1"],
                    cwd=tmp_path,
                    env=environment,
                    capture_output=True,
                    text=True,
                )
                assert done.returncode == 0, f"{command}\n{done.stdout}"
                assert fits(shown, done.stdout.splitlines()), f"{command}\n{done.stdout}"


def test_numbers_may_differ_and_words_may_not() -> None:
    assert fits(["a  1.62 ms", "..."], ["a 0.3 ms", "more", "and more"])
    assert fits(["...", "end 2"], ["begin", "end 3"]) and fits(["...", "x"], ["x"])
    assert not fits(["a 1 ms"], ["b 1 ms"]) and not fits(["a"], ["a", "b"])


def test_an_unmarked_block_is_seen() -> None:
    (found,) = BLOCK.findall("text\n```console\n$ ls\nx\n```\n")
    assert found == ("text", "$ ls\nx\n") and not MARKER.match(found[0])
    assert list(calls(found[1])) == [("ls", ["x"])]
