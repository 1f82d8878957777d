"""The cells of a table's text: separators, quotes, lines of JSON, and where they are damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.data.folders.tables.cells import read_cells
from compress.engine.errors import DataError

CSV, TSV, JSONL = (Path(f"labels.{ending}") for ending in ("csv", "tsv", "jsonl"))


def cells(text: str, path: Path = CSV) -> list[tuple[int, list[str]]]:
    return [(each.number, each.cells) for each in read_cells(text, path).lines]


@pytest.mark.parametrize(
    "text, path, separator",
    [
        ("file,label\n", CSV, ","),
        ("\n \nfile;label\n", CSV, ";"),
        ('"file, or image, or id";label\n', CSV, ";"),
        ("file\tlabel, or class, or tag\n", TSV, "\t"),
        ("file,label\n", TSV, ","),
        ("sep=|\nfile,x|label\n", CSV, "|"),
        ("sep= \nfile label\n", CSV, " "),
    ],
)
def test_separators(text: str, path: Path, separator: str) -> None:
    found = read_cells(text, path)
    assert found.separator == separator and len(found.lines[0].cells) == 2


def test_lines_are_numbered_as_in_the_file() -> None:
    text = 'sep=;\n\nfile;text\na.jpg; "x\n\ny"\n ; \nb.jpg;z'
    assert cells(text) == [(3, ["file", "text"]), (4, ["a.jpg", "x\n\ny"]), (8, ["b.jpg", "z"])]


def test_objects_are_lines_also_with_line_separators_in_them() -> None:
    text = '\n{"file": "a.jpg"}\n\n{"label": "x\u2028y", "n": 3}\n{}'
    keys = ["file", "label", "n"]
    assert cells(text, JSONL) == [
        (2, keys),
        (2, ["a.jpg", "", ""]),
        (4, ["", "x\u2028y", "3"]),
        (5, ["", "", ""]),
    ]


@pytest.mark.parametrize(
    "text, path, message",
    [
        ('sep=,\na\n\nb,"c\nd,e', CSV, "not closed.*line 4: b,"),
        ('a\nb,"c"d\n', CSV, "a quote inside of a cell.*line 2: b,"),
        (f'a\nb,c\nd,"{"e" * 200_000}"', CSV, "field limit.*line 3: .*not closed"),
        ('{"a": 1}\n\n{"a": ', JSONL, "cannot be read as a table.*line 3: Expecting value"),
        ('{"a": 1}\n[1]', JSONL, "cannot be read as a table.*line 2.*a JSON object a line"),
        ("[" * 100_000, JSONL, "cannot be read as a table.*line 1"),
        ("{}\n{}", JSONL, "an empty table"),
        (";;\n;", CSV, "an empty table.*blanks and separators"),
        ("", JSONL, "an empty table.*nothing in it"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(text: str, path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_cells(text, path)
