"""Tables of labels: ``labels.csv`` or ``metadata.csv`` beside the images, as on Hugging Face.

    file_name,label,split        at the root, or file_name,label in train/ and test/
    a/001.jpg,rose,train

Columns go by their usual names, whatever the case; the separator is a comma, a semicolon, a tab or
a bar. ``.jsonl`` has an object a line. A file is found by its path below the table or the root, or
by its name alone if that is unique, also without its suffix. A table without a column of labels,
such as one of captions, takes no part.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compress.data.class_names import class_name, one_form
from compress.data.layout import TEST_NAMES, TRAIN_NAMES, Found, split_kind
from compress.data.walk import key_of, takes_part, visible, walk
from compress.engine.errors import DataError, nearest
from compress.engine.store import sha256_text
from compress.engine.text import read_text
from runtime.files.paths import line
from runtime.preprocess.image_files import SUFFIXES

STEMS = ("labels", "metadata", "annotations")
SUFFIXES_OF_TABLES = (".csv", ".tsv", ".jsonl")
NAMES = tuple(stem + suffix for stem in STEMS for suffix in SUFFIXES_OF_TABLES)
FILE_COLUMNS = (
    *("file_name", "filename", "file", "image", "image_path", "path", "file_path", "filepath"),
    *("image_name", "image_file", "img", "img_path", "image_id", "id", "name"),
)
LABEL_COLUMNS = (
    *("label", "labels", "class", "class_name", "category", "label_name", "target", "species"),
    *("breed", "classname", "class_label", "tag", "y", "class_id", "label_id"),
)
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "dataset", "phase", "fold")
SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Row:
    """A line of a table: what it says of a file, as text."""

    file: str
    label: str
    split: str


@dataclass(frozen=True)
class Table:
    """A table of labels; ``split`` is that of the folder it lies in."""

    path: Path
    rows: tuple[Row, ...]
    digest: str
    split: str = ""


def find_tables(root: Path) -> list[Table]:
    """The tables of labels of a folder: the first at its root, else one in each split folder.

    Raises: DataError: a table that cannot be read, or images beside a table without labels.
    """
    own = _first_table(root)
    if own is not None:
        return [own]
    folders = [Path(entry.path) for entry in visible(root) if entry.is_dir()]
    inside = ((folder, _first_table(folder)) for folder in folders if split_kind(folder.name))
    return [
        Table(table.path, table.rows, table.digest, folder.name)
        for folder, table in inside
        if table
    ]


def read_tables(root: Path, tables: Sequence[Table]) -> Found:
    """The images that tables name, by split and label.

    Raises: DataError: an image with two labels or in two splits, an unknown split, or no image.
    """
    files = _Files.below(root)
    found = Found()
    labels: dict[Path, tuple[str, str]] = {}
    missing: list[str] = []
    for table in tables:
        for row in table.rows:
            path = files.find(row.file, table.path.parent)
            label = class_name(row.label)
            split = table.split or _split(row.split, table.path)
            if path is None:
                missing.append(row.file)
                found.skipped.append(
                    {
                        "key": line(row.file),
                        "reason": f"{table.path.name} names it, "
                        "and there is no such image, or several",
                    }
                )
            elif not label:
                found.left_out.append(path)
            elif labels.setdefault(path, (label, split)) != (label, split):
                got = f"{key_of(path, root)}: {line(', '.join((*labels[path], label, split)))}"
                what = f"{table.path} gives an image two labels or splits"
                raise DataError(what, got=got, remedy="keep one row for each image")
    if not labels:
        got = f"{len(missing)} rows, e.g. {line(missing[0])}" if missing else "no row with a label"
        what = f"the rows of {', '.join(str(table.path) for table in tables)} name no image"
        remedy = f"paths are below {root}, or names of files there"
        raise DataError(what, got=got, remedy=remedy)
    by_split: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path, (label, split) in labels.items():
        by_split[split][label].append(path)
    found.take(
        {
            split: {label: tuple(sorted(paths)) for label, paths in listed.items()}
            for split, listed in by_split.items()
        }
    )
    found.left_out += [path for path in files.paths if path not in labels]
    names = ", ".join(key_of(table.path, root) for table in tables)
    found.notes.append(f"labels are those of {names}, not the names of folders")
    if missing:
        found.notes.append(f"{len(missing)} rows of {names} name no image, e.g. {line(missing[0])}")
    return found


def _first_table(folder: Path) -> Table | None:
    """The table of labels in a folder, or None."""
    there = {entry.name.casefold(): Path(entry.path) for entry in visible(folder)}
    for name in NAMES:
        path = there.get(name)
        table = _read(path) if path is not None and path.is_file() else None
        if table is not None:
            return table
    return None


def _read(path: Path) -> Table | None:
    """A table; None for one without a column of files or of labels."""
    text = read_text(path, DataError)
    try:
        lines = list(_objects(text) if path.suffix.lower() == ".jsonl" else _lines(text))
    except (csv.Error, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as a table", got=line(str(error))) from error
    if not lines:
        return None
    columns = _columns(lines[0])
    if columns is None:
        return None
    rows = (
        tuple(cells[i].strip() if 0 <= i < len(cells) else "" for i in columns[0])
        for cells in lines[columns[1] :]
    )
    kept = [Row(*row) for row in rows if row[0]]
    return Table(path, tuple(_whole_numbers(kept)), sha256_text(text))


def _lines(text: str) -> Iterator[list[str]]:
    """The cells of every line that has any; a line "sep=;" is Excel's."""
    head, _, rest = text.partition("\n")
    if match := re.fullmatch(r"sep=(.)\s*", head):
        separator, text = match[1], rest
    else:
        separator = max(SEPARATORS, key=head.count)
    return (row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(row))


def _objects(text: str) -> Iterator[list[str]]:
    """The keys of a file of JSON objects as a first line, then the values of each."""
    objects = [json.loads(each) for each in text.splitlines() if each.strip()]
    if not all(isinstance(one, dict) for one in objects):
        raise ValueError("a line is no JSON object")
    keys = list(dict.fromkeys(key for one in objects for key in one))
    yield keys
    for one in objects:
        yield ["" if one.get(key) is None else str(one[key]) for key in keys]


def _columns(head: Sequence[str]) -> tuple[tuple[int, int, int], int] | None:
    """Places of file, label and split (-1: none), and of the first row; None without both."""
    names = [re.sub(r"[\s-]+", "_", cell.strip().casefold()) for cell in head]

    def place(known: Iterable[str], taken: int = -1) -> int:
        return next((names.index(n) for n in known if n in names and names.index(n) != taken), -1)

    file = place(FILE_COLUMNS)
    label = place(LABEL_COLUMNS, file)
    if file >= 0 and label >= 0:
        return (file, label, place(SPLIT_COLUMNS, label)), 1
    if len(head) in (2, 3) and Path(head[0].strip()).suffix.lower() in SUFFIXES:
        return (0, 1, 2 if len(head) == 3 else -1), 0  # no line of names
    return None


def _whole_numbers(rows: Sequence[Row]) -> Iterable[Row]:
    """Class numbers as such where a program wrote them as 3.0."""
    if not all(re.fullmatch(r"\d+\.0|", row.label) for row in rows):
        return rows
    return [Row(row.file, row.label.removesuffix(".0"), row.split) for row in rows]


def _split(name: str, path: Path) -> str:
    if name and not split_kind(name):
        known = nearest(name.casefold(), [*TRAIN_NAMES, *TEST_NAMES])
        raise DataError(f"{path} has an unknown split", got=line(repr(name)), remedy=known)
    return name


@dataclass
class _Files:
    """The images below a folder, found by what tables call them."""

    root: Path
    paths: list[Path] = field(default_factory=list)
    by_end: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    by_key: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def below(cls, root: Path) -> _Files:
        files = cls(root)
        for path in walk(root):
            if takes_part(path, root):
                files.paths.append(path)
                key = one_form(key_of(path, root))
                files.by_key[key] = path
                for end in {path.name, path.stem}:
                    files.by_end[one_form(end)].append(key)
        return files

    def find(self, name: str, beside: Path) -> Path | None:
        """The image of a name: below the table's folder, the root, or by its last parts."""
        wanted = [part for part in one_form(name).replace("\\", "/").split("/") if part != "."]
        if ".." in wanted:
            return None
        inside = () if beside == self.root else (key_of(beside, self.root),)
        for key in ("/".join((*inside, *wanted)), "/".join(wanted)):
            if key in self.by_key:
                return self.by_key[key]
        keys = self.by_end.get(wanted[-1], []) if wanted else []
        for start in range(len(wanted)):  # the longest end first
            end = wanted[start:]
            fits = [key for key in keys if _ends(key, end)]
            if len(fits) == 1:
                return self.by_key[fits[0]]
            if fits and inside:
                fits = [key for key in fits if key.startswith(f"{inside[0]}/")]
                if len(fits) == 1:
                    return self.by_key[fits[0]]
        return None


def _ends(key: str, end: Sequence[str]) -> bool:
    """Whether a path ends in these parts; the last one may lack its suffix."""
    parts = key.split("/")[-len(end) :]
    return parts[:-1] == list(end[:-1]) and end[-1] in (parts[-1], Path(parts[-1]).stem)
