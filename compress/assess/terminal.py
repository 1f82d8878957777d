"""An evaluation as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from compress.assess import sentences
from compress.assess.result import Evaluation
from compress.report.wording import ABSENT, interval, percent
from runtime.errors import harmless
from runtime.files.paths import line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

CLASSES = 30  # rows; --json and the page have all
MISTAKES = 8


def tables(result: Evaluation) -> Iterator[RenderableType]:
    """What is printed: the figures, the classes, the surest mistakes, what took no part."""
    from rich.text import Text

    yield Text(harmless(line(sentences.headline(result))), style="bold")
    if known := sentences.trained_on(result):
        yield Text(harmless(line(f"{known}.")), style="yellow")
    yield ""
    yield _figures(result)
    yield _classes(result)
    if result.mistakes:
        yield _mistakes(result)
    for remark in sentences.remarks(result):
        yield Text(harmless(f"- {line(remark)}"))
    for row in result.tested.unreadable:
        yield Text(harmless(line(f"- cannot be read: {row.key}: {row.reason}")), style="red")


def _figures(result: Evaluation) -> RenderableType:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    right = f"{result.correct:,} of {result.n:,}"
    table.add_row("accuracy", percent(result.top1), f"95 % CI {interval(result.ci95)}, {right}")
    table.add_row("macro F1", percent(result.macro_f1), "mean over classes")
    table.add_row("ECE", percent(result.ece), "expected calibration error")
    return table


def _classes(result: Evaluation) -> RenderableType:
    from rich.text import Text

    rows = sentences.weakest_first(result)
    table = _table("label", "taken for", "images", "accuracy", "precision", "F1")
    for row in rows[:CLASSES]:
        figures = (f"{row.n:,}", percent(row.recall), percent(row.precision), percent(row.f1))
        table.add_row(*map(_cell, (row.label, row.taken_for or ABSENT)), *figures)
    if len(rows) > CLASSES:
        more = f"and {len(rows) - CLASSES} labels that are better: --json or --html shows them"
        table.caption = Text(more)
        table.caption_justify = "left"
    return table


def _mistakes(result: Evaluation) -> RenderableType:
    from rich.text import Text

    table = _table("surest mistakes", "label", "taken for", "sure")
    for row in result.mistakes[:MISTAKES]:
        table.add_row(*map(_cell, (row.path, row.true, row.predicted)), percent(row.confidence, 0))
    if len(result.mistakes) > MISTAKES:
        table.caption = Text(f"and {len(result.mistakes) - MISTAKES} more: --json or --out")
        table.caption_justify = "left"
    return table


def _table(*headings: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    texts = ("label", "taken for", "surest mistakes")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in texts else "right", overflow="fold")
    return table


def _cell(text: str) -> Text:
    from rich.text import Text

    return Text(harmless(line(text)))
