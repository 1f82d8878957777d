"""Copies measured tables into the README, so that it cannot drift from ``results/``.

    python -m benchmarks.readme

A block between ``<!-- begin FILE -->`` and ``<!-- end -->`` is replaced by that file, or with
``FILE table`` by its first Markdown table. A test fails if the README differs from what this would
write.
"""

from __future__ import annotations

import re
from itertools import dropwhile, takewhile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- begin (\S+)( table)? -->\n).*?(<!-- end -->)", re.DOTALL)


def first_table(text: str) -> str:
    """The first Markdown table of a text, its lines as they are."""
    rest = dropwhile(lambda line: not line.startswith("|"), text.splitlines())
    return "\n".join(takewhile(lambda line: line.startswith("|"), rest)) + "\n"


def filled(readme: str, root: Path = ROOT) -> str:
    """The README's text with every block taken from its file."""

    def block(match: re.Match[str]) -> str:
        begin, name, table, end = match.groups()
        text = (root / name).read_text(encoding="utf-8")
        return begin + (first_table(text) if table else f"```\n{text.rstrip()}\n```\n") + end

    return BLOCK.sub(block, readme)


def main() -> None:
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
