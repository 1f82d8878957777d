"""Suggestions as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from compress.report.wording import percent
from compress.suggest.suggest import Suggestions
from runtime.errors import harmless
from runtime.files.paths import line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text


def tables(result: Suggestions) -> Iterator[RenderableType]:
    """What is printed: the images, then what took no part."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("#", "image", "guess", "", "or", "", "unsure", "far", "of a class"):
        is_text = heading in ("image", "guess", "or", "of a class")
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for rank, row in enumerate(result.rows, 1):
        known = "" if row.known is None else "yes" if row.known else "not sure"
        guess = _cell(row.guess), percent(row.probability, 0)
        second = _cell(row.second), percent(row.second_probability, 0)
        far = f"{row.uncertainty:.2f}", f"{row.distance:.2f}"
        table.add_row(str(rank), _cell(row.path), *guess, *second, *far, known)
    yield table
    copies = f", {result.copies} more are copies" if result.copies else ""
    yield _cell(f"{len(result.rows)} of {result.images} images{copies}")
    for name, why in result.unreadable.items():
        yield _cell(f"- cannot be read: {name}: {why}")


def _cell(text: str) -> Text:
    from rich.text import Text

    return Text(harmless(line(text)))
