"""A comparison as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from compress.compare import sentences
from compress.compare.runs import Comparison, what
from compress.report.wording import interval, milliseconds, percent, size
from runtime.errors import harmless
from runtime.files.paths import line

if TYPE_CHECKING:
    from rich.console import RenderableType


def table(comparison: Comparison) -> Iterator[RenderableType]:
    """The runs, the first on top, and what has to be known before reading them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("run", overflow="fold")
    grid.add_column("what", overflow="fold")
    for heading in ("top-1", "95 % CI", "size", "p50"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("against the first", overflow="fold")
    said = ["", *(sentences.difference(found) for found in comparison.against)]
    for run, words in zip(comparison.runs, said, strict=True):
        report, shipped = run.report, run.report.shipped
        accuracy = report.accuracy.get(shipped)
        figures = (
            percent(accuracy.top1 if accuracy else None),
            interval(accuracy.ci95 if accuracy else None),
            size(report.size_bytes.get(shipped)),
            milliseconds(report.p50_ms(shipped)),
        )
        texts = (Text(harmless(line(text))) for text in (run.name, what(run)))
        grid.add_row(*texts, *figures, Text(harmless(line(words))))
    yield grid
    for remark in sentences.remarks(comparison):
        yield Text(harmless(line(f"- {remark}")))
