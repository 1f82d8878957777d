"""Copies measured tables into the README and the pages of docs, so that they cannot drift.

    python -m benchmarks.readme

A block between ``<!-- begin FILE -->`` and ``<!-- end -->`` is replaced by that file, or with
``FILE table`` by its first Markdown table. A test fails if a page differs from what this would
write.
"""

from __future__ import annotations

import re
from itertools import dropwhile, takewhile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- begin (\S+)( table)? -->\n).*?(<!-- end -->)", re.DOTALL)


def pages(root: Path = ROOT) -> list[Path]:
    """The README and every page of docs."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def first_table(text: str) -> str:
    """The first Markdown table of a text, its lines as they are."""
    rest = dropwhile(lambda line: not line.startswith("|"), text.splitlines())
    return "\n".join(takewhile(lambda line: line.startswith("|"), rest)) + "\n"


def filled(page: str, root: Path = ROOT) -> str:
    """A page's text with every block taken from its file."""

    def block(match: re.Match[str]) -> str:
        begin, name, table, end = match.groups()
        text = (root / name).read_text(encoding="utf-8")
        return begin + (first_table(text) if table else f"```\n{text.rstrip()}\n```\n") + end

    return BLOCK.sub(block, page)


def main() -> None:
    for path in pages():
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
