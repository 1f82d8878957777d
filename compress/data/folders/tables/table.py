"""One table of labels: the files that are named as such, its rows, and what is odd in them.

A table without the columns takes no part. What can only be a mistake is refused: one without rows,
a name with a line break, a cell that holds further rows, a label with a quote too many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compress.data.folders.tables.cells import CLOSE, EMPTY, Cells, Line, read_cells, shown
from compress.data.folders.tables.columns import (
    Columns,
    find_columns,
    is_image_name,
    missing_columns,
)
from compress.data.folders.walk import is_folder, visible
from compress.engine.errors import DataError
from compress.engine.store import sha256_text
from compress.engine.text import read_text
from runtime.files.paths import line

STEMS = ("labels", "metadata", "annotations")
SUFFIXES_OF_TABLES = (".csv", ".tsv", ".jsonl")
NAMES = tuple(stem + suffix for stem in STEMS for suffix in SUFFIXES_OF_TABLES)


@dataclass(frozen=True)
class Row:
    """A line of a table: what it says of a file, as text, and its number."""

    file: str
    label: str
    split: str
    number: int = 0


@dataclass(frozen=True)
class Table:
    """A table of labels; ``split`` is that of the folder it lies in."""

    path: Path
    rows: tuple[Row, ...]
    digest: str
    split: str = ""
    notes: tuple[str, ...] = ()


def candidates(folder: Path) -> list[Path]:
    """The files in a folder that are named as tables of labels, in the order of ``NAMES``."""
    there = [entry for entry in visible(folder) if entry.name.casefold() in NAMES]
    there.sort(key=lambda entry: (NAMES.index(entry.name.casefold()), entry.name not in NAMES))
    return [Path(entry.path) for entry in there if not is_folder(entry)]


def read_table(path: Path) -> Table | str:
    """A table; what it lacks, if it has no column of files or of labels.

    Raises: DataError: it cannot be read, has no rows, or a quote that swallows lines.
    """
    text = read_text(path, DataError)
    cells = read_cells(text, path)
    columns = find_columns([each.cells for each in cells.lines], path.name)
    if columns is None:
        return missing_columns(cells.lines[0].cells)
    lines = cells.lines[columns.first :]
    _refuse_swallowed(lines, columns, cells.separator, path)
    places = (columns.file, columns.label, columns.split)
    rows = [_row(each, places, columns) for each in lines]
    named = [(each, row) for each, row in zip(lines, rows, strict=True) if row.file]
    if not named:
        what = "rows that name a file" if rows else "rows"
        got = shown(cells.lines[0].cells)
        raise DataError(f"{path} has no {what}", got=f"only: {got}", remedy=EMPTY)
    _refuse_stray_quotes(named, path)
    kept = _whole_numbers([row for _, row in named])
    notes = (*columns.notes, *_odd_rows(cells, lines, rows, path.name))
    return Table(path, tuple(kept), sha256_text(text), notes=notes)


def _row(each: Line, places: Iterable[int], columns: Columns) -> Row:
    file, label, split = (
        each.cells[place].strip() if 0 <= place < len(each.cells) else "" for place in places
    )
    return Row(file, label, columns.split_of(split), each.number)


def _refuse_swallowed(lines: Sequence[Line], columns: Columns, separator: str, path: Path) -> None:
    """Raises DataError for a line break in a name, or rows in a cell: an open quote."""
    names = {columns.file: "a file", columns.label: "a label", columns.split: "a split"}
    for each in lines:
        for place, cell in enumerate(each.cells):
            if "\n" not in cell.strip():
                continue
            if place in names or _has_row(cell, columns, separator):
                what = f"{path} has a line break in {names.get(place, 'a cell with rows in it')}"
                got = f"line {each.number}: {shown(each.cells)}"
                raise DataError(what, got=got, remedy=CLOSE if separator else "remove the break")


def _has_row(cell: str, columns: Columns, separator: str) -> bool:
    """Whether a further line of a cell looks as the rows of the table do."""
    inside = [text.split(separator) for text in cell.split("\n")[1:]] if separator else []
    most = max(columns.file, columns.label)
    return any(len(row) > most and is_image_name(row[columns.file].strip(' "')) for row in inside)


def _refuse_stray_quotes(rows: Iterable[tuple[Line, Row]], path: Path) -> None:
    """Raises DataError for a label that is another one with a quote too many."""
    labels: dict[str, int] = {}
    for each, row in rows:
        labels.setdefault(row.label, each.number)
    for label, number in labels.items():
        bare = label.replace('"', "").strip()
        if label != bare and bare in labels:
            what = f"{path} has a label that differs from another by a quote"
            got = f"line {number}: {line(label)}, and {line(bare)} in line {labels[bare]}"
            raise DataError(what, got=got, remedy="remove the quote")


def _odd_rows(cells: Cells, lines: Sequence[Line], rows: Sequence[Row], name: str) -> Iterable[str]:
    """Notes on rows that name no file, and on those with more cells than there are columns."""
    width = len(cells.lines[0].cells)
    odd = {
        "name no file": [
            each.number for each, row in zip(lines, rows, strict=True) if not row.file
        ],
        "have more cells than there are columns": [
            each.number for each in lines if any(cell.strip() for cell in each.cells[width:])
        ],
    }
    for what, numbers in odd.items():
        if numbers:
            yield f"{len(numbers)} rows of {name} {what}, e.g. line {numbers[0]}"


def _whole_numbers(rows: Sequence[Row]) -> Iterable[Row]:
    """Class numbers as such where a program wrote them as 3.0."""
    if not all(re.fullmatch(r"\d+\.0|", row.label) for row in rows):
        return rows
    return [replace(row, label=row.label.removesuffix(".0")) for row in rows]
