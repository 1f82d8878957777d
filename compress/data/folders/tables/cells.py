"""The cells of a table's text, line by line: separated values, or an object of JSON a line.

A quote that is not closed makes a cell of all that follows, so that is refused with its line.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from compress.engine.errors import DataError
from compress.engine.text import shortened
from runtime.files.paths import line

SEPARATORS = ",;\t|"
SHOWN = 80  # characters of a line in an error
CLOSE = "close the quote before its line ends, or remove it; inside of a quoted cell it is doubled"
EMPTY = "write the table again, or remove the file"


@dataclass(frozen=True)
class Line:
    """The cells of a line, and its number in the file: of more lines, that of the first."""

    number: int
    cells: list[str]


@dataclass(frozen=True)
class Cells:
    """The lines that have any cell, that of the names first if there is one.

    Attributes:
        separator: what stands between cells; "" for JSON.
    """

    lines: list[Line]
    separator: str = ""


def read_cells(text: str, path: Path) -> Cells:
    """The cells of a file, whose ending says how they are written.

    Raises: DataError: nothing in it, a quote that is not closed, or no JSON.
    """
    objects = path.suffix.lower() == ".jsonl"
    cells = Cells(list(_objects(text, path))) if objects else _separated(text, path)
    if not cells.lines:
        got = "blanks and separators only" if text.strip() else "nothing in it"
        raise DataError(f"{path} is an empty table", got=got, remedy=EMPTY)
    return cells


def shown(cells: Iterable[str]) -> str:
    """Cells on one short line."""
    return line(shortened(", ".join(cell.strip() for cell in cells), SHOWN))


def _separated(text: str, path: Path) -> Cells:
    """The cells between separators; a line "sep=;" is Excel's."""
    before, (head, _, rest) = 0, text.partition("\n")
    if match := re.fullmatch(r"sep=(.)\s*", head):
        separator, text, before = match[1], rest, 1
    else:
        separator = _separator(text, path)
    lines: list[Line] = []
    try:
        reader = csv.reader(
            io.StringIO(text),
            delimiter=separator,
            skipinitialspace=separator != " ",  # a quote after a space is one, too
            strict=True,
        )
    except (csv.Error, TypeError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table", got=line(str(error))) from error
    while True:
        start = reader.line_num
        try:
            cells = next(reader, None)
        except csv.Error as error:
            first = next(islice(io.StringIO(text), start, None), "")
            raise _refused(error, start + before + 1, first, path) from error
        if cells is None:
            return Cells(lines, separator)
        if any(cell.strip() for cell in cells):
            lines.append(Line(start + before + 1, cells))


def _separator(text: str, path: Path) -> str:
    """What stands between the cells of the first line, quoted ones aside."""
    head = next((each for each in io.StringIO(text) if each.strip()), "")
    bare = re.sub(r'"[^"]*"', "", head)
    if path.suffix.lower() == ".tsv" and "\t" in bare:
        return "\t"
    return max(SEPARATORS, key=bare.count)


def _refused(error: csv.Error, number: int, first: str, path: Path) -> DataError:
    got = f"line {number}: {line(shortened(first, SHOWN))}"
    if "unexpected end" in str(error):
        return DataError(f"{path} has a quote that is not closed", got=got, remedy=CLOSE)
    if "expected after" in str(error):
        return DataError(f"{path} has a quote inside of a cell", got=got, remedy=CLOSE)
    what = f"{path} cannot be read as a table: {error}"
    return DataError(what, got=got, remedy="look for a quote there that is not closed")


def _objects(text: str, path: Path) -> Iterator[Line]:
    """The keys of the objects as a first line, then the values of each."""
    objects = []
    for number, each in enumerate(io.StringIO(text), 1):
        if each.strip():
            objects.append((number, _object(each, number, path)))
    if keys := list(dict.fromkeys(key for _, one in objects for key in one)):
        yield Line(objects[0][0], keys)
        for number, one in objects:
            yield Line(number, ["" if one.get(key) is None else str(one[key]) for key in keys])


def _object(text: str, number: int, path: Path) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        got = f"line {number}: {line(getattr(error, 'msg', error))}"
        expected = "a JSON object a line"
        raise DataError(f"{path} cannot be read as a table", got=got, expected=expected) from error
    if not isinstance(value, dict):
        got = f"line {number}: {line(shortened(text, SHOWN))}"
        expected = "a JSON object a line"
        raise DataError(f"{path} cannot be read as a table", got=got, expected=expected)
    return value
