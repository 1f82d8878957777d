"""Which columns of a table say the file, the label and the split.

Columns go by their usual names, whatever the case, and by what is in them: names of images say more
than numbers, names of classes more than their numbers. What was chosen otherwise than by its name,
and what is not used, is a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compress.data.class_names import look_alike
from compress.data.folders.split_names import plain, split_kind
from compress.data.folders.tables.cells import shown
from runtime.files.paths import line
from runtime.preprocess.image_files import SUFFIXES

FILE_COLUMNS = (
    *("file_name", "filename", "file", "image", "image_path", "path", "file_path", "filepath"),
    *("image_name", "image_file", "img", "img_path", "image_id", "id", "name"),
)
LABEL_COLUMNS = (
    *("label", "labels", "class", "class_name", "category", "label_name", "target", "species"),
    *("breed", "classname", "class_label", "tag", "y", "class_id", "label_id"),
)
# columns of text that say the names of numbered labels
NAME_COLUMNS = (
    *("class_name", "classname", "class_names", "label_name", "label_names", "label_text"),
    *("text_label", "category_name", "class_label"),
)
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "dataset", "phase", "fold")
SURE_SPLIT_COLUMNS = frozenset(("split", "partition"))  # others may say something else
YES = frozenset(("true", "yes", "y", "t", "1", "1.0"))
NO = frozenset(("false", "no", "n", "f", "0", "0.0"))
NUMBER = re.compile(r"[-+]?\d+(\.0*)?")


@dataclass(frozen=True)
class Columns:
    """Places of the columns; -1 for no split.

    Attributes:
        first: the line of the first row.
        flag: the split that a "yes" says, of a column such as is_valid; "" for one of names.
    """

    file: int
    label: int
    split: int
    first: int = 1
    notes: list[str] = field(default_factory=list)
    flag: str = ""

    def split_of(self, cell: str) -> str:
        """The name of the split that a cell of the split's column says."""
        if not self.flag or not cell:
            return cell
        other = "test" if split_kind(self.flag) == "train" else "train"
        return self.flag if cell.casefold() in YES else other


def find_columns(lines: Sequence[Sequence[str]], table: str) -> Columns | None:
    """The columns of a table; None for one without files or labels.

    Args:
        lines: the cells of every line, that of the names first, if there is one.
        table: its name, for notes.
    """
    columns = _Cells(lines[1:], list(map(plain, lines[0])), list(lines[0]))
    file = columns.places(FILE_COLUMNS)
    file.sort(key=columns.names_no_images)
    labels = columns.places(LABEL_COLUMNS, file[:1])
    if file and labels:
        return _chosen(columns, file[0], labels, table)
    if len(lines[0]) in (2, 3) and is_image_name(lines[0][0].strip()):  # no line of names
        names = ["file_name", "label", "split"][: len(lines[0])]
        columns = _Cells(lines, names, ["column 1", "column 2", "column 3"])
        return _chosen(columns, 0, [1], table, others=[2][: len(names) - 2], first=0)
    return None


def missing_columns(names: Sequence[str]) -> str:
    """What a table without files or labels lacks, for a note that says what it has."""
    known = [plain(name) for name in names]
    usual = {"files": FILE_COLUMNS, "labels": LABEL_COLUMNS}
    missing = [what for what, columns in usual.items() if not {*columns} & {*known}]
    return f"no column of {' and none of '.join(missing)} (has: {shown(names)})"


def is_image_name(text: str) -> bool:
    """Whether a cell ends as the names of image files do."""
    return Path(text).suffix.lower() in SUFFIXES


def are_numbers(texts: Iterable[str]) -> bool:
    """Whether these are numbers of classes, as a program writes them: 3, or 3.0."""
    return all(NUMBER.fullmatch(text) for text in texts)


@dataclass(frozen=True)
class _Cells:
    """The rows of a table by column.

    Attributes:
        names: of the columns, as they are compared.
        shown: as they are written.
    """

    rows: Sequence[Sequence[str]]
    names: list[str]
    shown: list[str]

    def places(self, known: Iterable[str], taken: Sequence[int] = ()) -> list[int]:
        places = [self.names.index(name) for name in dict.fromkeys(known) if name in self.names]
        return [place for place in places if place not in taken]

    def column(self, place: int) -> list[str]:
        return [row[place].strip() if place < len(row) else "" for row in self.rows]

    def values(self, place: int) -> list[str]:
        return [cell for cell in self.column(place) if cell]

    def names_no_images(self, place: int) -> tuple[bool, bool]:
        """Whether most cells do not end as image files, and whether there are none: to sort by."""
        values = self.values(place)
        return sum(map(is_image_name, values)) * 2 <= len(values), not values


def _chosen(
    columns: _Cells,
    file: int,
    labels: list[int],
    table: str,
    others: Sequence[int] = (),
    first: int = 1,
) -> Columns:
    """The label and the split among the columns that could say them."""
    notes: list[str] = []
    label = next((place for place in labels if columns.values(place)), labels[0])
    if columns.values(label) and are_numbers(columns.values(label)):
        more = [*labels, *columns.places((*NAME_COLUMNS, "name")), *others]
        numbers = columns.shown[label]
        texts = [
            place
            for place in dict.fromkeys(more)
            if place != file and (cells := columns.values(place)) and not are_numbers(cells)
        ]
        if names := next((one for one in texts if _are_names(columns, one, label)), None):
            note = f"labels are the names of column {columns.shown[names]!r} of {table}, not the "
            notes.append(line(f"{note}numbers of {numbers!r}"))
            label = names
        elif unused := [columns.shown[place] for place in texts if place in labels]:
            note = f"labels are the numbers of column {numbers!r} of {table}: "
            notes.append(line(f"{note}{', '.join(unused)} groups the images otherwise"))
    split, flag = _split(columns, (file, label), table, notes)
    return Columns(file, label, split, first, notes, flag)


def _split(columns: _Cells, taken: Sequence[int], table: str, notes: list[str]) -> tuple[int, str]:
    """The place of the column of splits, or -1, and the split that its "yes" says.

    By its usual name; else ``is_valid`` and its like; else one that holds names of splits alone.
    What could be one otherwise is a note.
    """
    for place in columns.places(SPLIT_COLUMNS, taken):
        values = columns.values(place)
        sure = columns.names[place] in SURE_SPLIT_COLUMNS and columns.shown[place] != "column 3"
        if values and (sure or any(map(split_kind, values))):
            return place, ""
        if values:
            note = f"{columns.shown[place]!r} of {table} names no split, e.g. {values[0]}: "
            notes.append(line(f"{note}it is not used"))
    free = [place for place in range(len(columns.names)) if place not in taken]
    for place in free:
        name, values = columns.names[place], columns.values(place)
        flag, shown = name.removeprefix("is_"), columns.shown[place]
        if values and {split_kind(value) for value in values} == {"train", "test"}:
            notes.append(line(f"{shown!r} of {table} holds the names of splits"))
            return place, ""
        if not values or not split_kind(flag) or {v.casefold() for v in values} - (YES | NO):
            continue
        if flag != name:
            notes.append(line(f"{shown!r} of {table} says what is of the split {flag}"))
            return place, flag
        note = f"{shown!r} of {table} may be a split, or something else: it is not used; "
        notes.append(line(f"{note}call it is_{flag} if it is one"))
    return -1, ""


def _are_names(columns: _Cells, names: int, numbers: int) -> bool:
    """Whether a column of text has the names of the classes that another one numbers."""
    pairs = list(zip(columns.column(numbers), columns.column(names), strict=True))
    if not all(name for number, name in pairs if number):
        return False
    if columns.names[names] in NAME_COLUMNS:
        return True
    both = {(number.partition(".")[0], look_alike(name)) for number, name in pairs if number}
    return len({a for a, _ in both}) == len({b for _, b in both}) == len(both)
