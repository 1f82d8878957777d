"""What the benchmark modules share: their options, and the pages they write to ``results/``."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runtime.host import telemetry

RESULTS = Path(__file__).parent / "results"
PAGES = Path(__file__).parent / "pages"  # pages that a browser runs


def options(name: str, doc: str | None, result: str | None = None) -> argparse.ArgumentParser:
    """A parser for ``python -m benchmarks.NAME`` with ``--out``, by default results/NAME.md.

    Args:
        doc: docstring of the module; its first line describes the command.
        result: name of the result's file, if it is another.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=(doc or "").partition("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=RESULTS / (result or f"{name}.md"))
    return parser


def table(header: str, rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the header is written ``"a | b"``."""
    body = (f"| {' | '.join(map(str, row))} |" for row in rows)
    return "\n".join([f"| {header} |", "|" + "---|" * len(header.split(" | ")), *body])


def interval(p50: float, ci95: Sequence[float], digits: int = 2) -> str:
    """A ratio with its 95 % interval: ``1.52× (1.51–1.52)``."""
    return f"{p50:.{digits}f}× ({ci95[0]:.{digits}f}–{ci95[1]:.{digits}f})"


def cpu() -> str:
    """The processor of this machine."""
    return telemetry.host().cpu or platform.machine()


def library_versions() -> str:
    """Versions of the libraries that a ladder's result depends on."""
    from compress.engine.versions import versions

    shown = ("torch", "onnxruntime", "python")
    return ", ".join(f"{name} {version}" for name, version in versions().items() if name in shown)


def commit() -> str:
    """The commit of this tree; ``+``: with changes."""
    root = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "compress", "export", "runtime")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + "+" * bool(changed)


def write(out: Path, text: str) -> None:
    """Writes a page and prints it."""
    out.write_text(text, encoding="utf-8")
    print(text)


def read_record(out: Path) -> dict[str, Any]:
    """The record written before, or an empty one."""
    found: dict[str, Any] = {}
    if out.is_file():
        found = json.loads(out.read_text(encoding="utf-8"))
    return found


def write_record(out: Path, record: Mapping[str, Any], text: str) -> None:
    """Writes a record as JSON and its page beside it, and prints the page."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    write(out.with_suffix(".md"), text)
