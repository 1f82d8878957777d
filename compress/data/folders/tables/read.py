"""Tables of labels: ``labels.csv`` or ``metadata.csv`` beside the images, as on Hugging Face.

    file_name,label,split        at the root, or file_name,label in train/ and test/
    a/001.jpg,rose,train

The separator is a comma, a semicolon, a tab or a bar; ``.jsonl`` has an object a line. Which column
says what: ``columns.py``. How a file is found: ``file_index.py``. Where a table has no splits, its
images are of the split folder that they lie in, and a split folder that no table names is read by
its class folders. A table without a column of labels, such as one of captions, takes no part, nor
does a list of classes beside class folders, nor what another table comes before: a note says so.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from compress.data.class_names import class_name, look_alike, one_form, readable_name
from compress.data.folders.class_list import ClassList
from compress.data.folders.layout import (
    TEST_NAMES,
    TRAIN_NAMES,
    ClassFiles,
    Found,
    plain,
    read_splits,
    split_kind,
)
from compress.data.folders.tables.columns import are_numbers, is_image_name
from compress.data.folders.tables.file_index import FileIndex, find
from compress.data.folders.tables.splits import Labels, splits_beside, with_splits
from compress.data.folders.tables.table import Table, candidates, read_table
from compress.data.folders.walk import key_of, takes_part, visible, walk
from compress.engine.errors import DataError, nearest
from runtime.files.paths import line


@dataclass(frozen=True)
class Tables:
    """The tables of a folder that label its images, and notes on those that take no part."""

    used: list[Table]
    notes: list[str]
    files: Files


def find_tables(root: Path) -> Tables:
    """The tables of labels of a folder: the first at its root, else one in each split folder.

    Raises: DataError: a table that cannot be read.
    """
    files = Files(root)
    notes: list[str] = []

    def first(folder: Path, used: str = "") -> list[Table]:
        """The first table that labels images; ``used`` is one that comes before."""
        taken: list[Table] = []
        for path in candidates(folder):
            table = f"{used} comes first" if used else read_table(path)
            if isinstance(table, Table) and (reason := _no_labels(table, files)) is not None:
                table = reason
            if isinstance(table, Table):
                taken, used = [table], key_of(path, root)
            else:
                notes.append(line(f"{key_of(path, root)} takes no part: {table}"))
        return taken

    at_root = first(root)
    used = list(at_root)
    for entry in visible(root):
        if entry.is_dir() and split_kind(entry.name):
            before = key_of(at_root[0].path, root) if at_root else ""
            used += [replace(one, split=entry.name) for one in first(Path(entry.path), before)]
    return Tables(used, notes, files)


def read_tables(tables: Tables, level: str, listed: ClassList) -> Found:
    """The images that tables name, by split and label; other split folders by their class folders.

    Args:
        level: ``data.class_folders``.
        listed: what the classes are called, to compare folders with labels.

    Raises: DataError: an image with two labels or in two splits, an unknown split, or no image.
    """
    root = tables.files.root
    names = ", ".join(key_of(table.path, root) for table in tables.used)
    found = Found(notes=[note for table in tables.used for note in table.notes])
    labels = _labels(tables, found)
    if named := _names_of_folders(labels, root):
        labels = {path: (named[label], split) for path, (label, split) in labels.items()}
        found.notes.append(f"{names} numbers the folders: labels are the names of these")
    else:
        found.notes.append(f"labels are those of {names}, not the names of folders")
    beside = splits_beside(labels, listed, found, root)
    by_split: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path, (label, split) in with_splits(labels, beside, found, root).items():
        by_split[split][label].append(path)
    splits: dict[str, ClassFiles] = {
        split: {label: tuple(sorted(paths)) for label, paths in listed_paths.items()}
        for split, listed_paths in by_split.items()
    }
    if beside:
        shown = ", ".join(f"{name}/" for name in beside)
        found.notes.append(line(f"no table labels {shown}: labels there are the names of folders"))
        splits |= read_splits(beside, level, found, root)
    found.take(splits)
    taken = {path for split in splits.values() for paths in split.values() for path in paths}
    taken.update(found.left_out)
    found.left_out += [path for path in tables.files.paths if path not in taken]
    if missing := [row["key"] for row in found.skipped]:
        found.notes.append(f"{len(missing)} rows of {names} name no image, e.g. {missing[0]}")
    return found


def _labels(tables: Tables, found: Found) -> dict[Path, tuple[str, str]]:
    """The label and the split of every image that a row names; raises as ``read_tables``."""
    root = tables.files.root
    labels: dict[Path, tuple[str, str]] = {}
    bare: dict[Path, Table] = {}  # images of rows without a label
    for table in tables.used:
        for row in table.rows:
            path = tables.files.find(row.file, table)
            label = class_name(row.label)
            split = table.split or _split(row.split, table.path)
            if path is None:
                reason = f"{table.path.name} names it, and there is no such image, or several"
                found.skipped.append({"key": line(row.file), "reason": reason})
            elif not label:
                bare.setdefault(path, table)
            elif not _agree(labels.setdefault(path, (label, split)), (label, split)):
                got = f"{key_of(path, root)}: {line(', '.join((*labels[path], label, split)))}"
                what = f"{table.path} gives an image two labels or splits"
                raise DataError(what, got=got, remedy="keep one row for each image")
    found.left_out += [path for path in bare if path not in labels]
    if again := [path for path in bare if path in labels]:
        name = key_of(bare[again[0]].path, root)
        note = f"{len(again)} images have a row without a label in {name}, and one with a label, "
        found.notes.append(line(f"{note}which counts: e.g. {key_of(again[0], root)}"))
    if not labels:
        rows = [row["key"] for row in found.skipped]
        got = f"{len(rows)} rows, e.g. {rows[0]}" if rows else "no row with a label"
        what = f"the rows of {', '.join(str(table.path) for table in tables.used)} name no image"
        remedy = f"paths are below {root}, or names of files there"
        raise DataError(what, got=got, remedy=remedy)
    return labels


def _agree(one: tuple[str, str], other: tuple[str, str]) -> bool:
    return one == other or (one[0] == other[0] and plain(one[1]) == plain(other[1]))


def _no_labels(table: Table, files: Files) -> str | None:
    """Why a table of names that are no paths says nothing of images: it is a list of classes."""
    if any(is_image_name(row.file) or re.search(r"[/\\]", row.file) for row in table.rows):
        return None
    within = files.below(table.path.parent)
    folders = {
        tuple(part for part in key.split("/")[:-1] if split_kind(part) is None) for key in within
    } - {()}
    parts = {look_alike(readable_name(part)) for folder in folders for part in folder}
    ids = {look_alike(readable_name(row.file)) for row in table.rows}
    labels = [look_alike(readable_name(row.label)) for row in table.rows if row.label]
    about_folders = bool(parts) and (parts <= ids | set(labels) or {*labels} <= parts)
    if len(folders) < 2 and not about_folders:
        return None
    named = {path for row in table.rows if (path := files.find(row.file, table))}
    if not named:
        return "its rows name no image, and there are class folders (classes.yaml names those)"
    if len(named) * 2 < len(within) and (about_folders or len(set(labels)) == len(labels)):
        return f"its {len(table.rows)} rows are a list of classes, and there are class folders"
    return None


def _names_of_folders(labels: Labels, root: Path) -> dict[str, str]:
    """Number -> folder, where a table only numbers the class folders; else nothing."""
    if any(path.parent == root for path in labels):
        return {}
    pairs = {(label, path.parent.name) for path, (label, _) in labels.items()}
    names = [name for _, name in pairs]
    numbers = {label for label, _ in pairs}
    if not len(numbers) == len(set(names)) == len(pairs) > 1 or not are_numbers(numbers):
        return {}
    if any(split_kind(name) or are_numbers([name]) for name in names):
        return {}
    return dict(pairs)


def _split(name: str, path: Path) -> str:
    if name and not split_kind(name):
        known = nearest(name.casefold(), [*TRAIN_NAMES, *TEST_NAMES])
        raise DataError(f"{path} has an unknown split", got=line(repr(name)), remedy=known)
    return name


@dataclass(frozen=True)
class Files:
    """The images below a folder, listed once they are asked for."""

    root: Path

    @cached_property
    def paths(self) -> list[Path]:
        return [path for path in walk(self.root) if takes_part(path, self.root)]

    @cached_property
    def _by_key(self) -> dict[str, Path]:
        return {one_form(key_of(path, self.root)): path for path in self.paths}

    @cached_property
    def _indexes(self) -> dict[str, tuple[FileIndex, FileIndex]]:
        return {}

    def below(self, folder: Path) -> list[str]:
        """The names of the images below a folder, seen from there."""
        start = self._start(folder)
        return [key.removeprefix(start) for key in self._by_key if key.startswith(start)]

    def find(self, name: str, table: Table) -> Path | None:
        """The image of a name in a table: below its folder, the root, or by its last parts.

        A table in a split folder names no image of another split's folder.
        """
        start = self._start(table.path.parent)
        if start not in self._indexes:
            near = [key for key in self._by_key if key.startswith(start)]
            own = start.split("/")[0]
            others = [key for key in self._by_key if _may_name(own, key)] if own else []
            index = FileIndex(near)
            self._indexes[start] = index, FileIndex(others) if own else index
        key = find(name, start.rstrip("/"), *self._indexes[start])
        return None if key is None else self._by_key[key]

    def _start(self, folder: Path) -> str:
        return "" if folder == self.root else f"{one_form(key_of(folder, self.root))}/"


def _may_name(own: str, key: str) -> bool:
    top, inside, _ = key.partition("/")
    return top == own or not inside or split_kind(top) is None
