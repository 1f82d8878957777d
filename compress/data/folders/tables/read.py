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
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from compress.data.class_names import class_name, look_alike, readable_name
from compress.data.folders.class_list import ClassList
from compress.data.folders.layout import ClassFiles, Found, read_splits
from compress.data.folders.split_names import TEST_NAMES, TRAIN_NAMES, plain, split_kind
from compress.data.folders.tables.columns import are_numbers, is_image_name
from compress.data.folders.tables.files import Files
from compress.data.folders.tables.splits import Labels, splits_beside, top_of, with_splits
from compress.data.folders.tables.table import Table, candidates, read_table
from compress.data.folders.walk import key_of, visible
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
    apart = {*found.left_out, *beside.values()}
    rest = [path for path in tables.files.paths if path not in taken]
    found.unlabeled += [path for path in rest if apart.isdisjoint((path, *path.parents))]
    _require_all_folders(labels, found.unlabeled, names, root)
    if found.unlabeled:
        found.notes.append(_unlabeled(found.unlabeled, labels, names, root))
    if missing := [row["key"] for row in found.skipped]:
        found.notes.append(f"{len(missing)} rows of {names} name no image, e.g. {missing[0]}")
    return found


def _labels(tables: Tables, found: Found) -> dict[Path, tuple[str, str]]:
    """The label and the split of every image that a row names; raises as ``read_tables``."""
    files = tables.files
    labels: dict[Path, tuple[str, str]] = {}
    lines: dict[Path, int] = {}
    bare: dict[Path, Table] = {}  # images of rows without a label
    other_case: list[str] = []
    for table in tables.used:
        for row in table.rows:
            path = files.find(row.file, table)
            if path is None and (path := files.in_any_case.find(row.file, table)) is not None:
                other_case.append(row.file)
            label = class_name(row.label)
            split = table.split or _split(row.split, table.path)
            if path is None:
                reason = files.why_none(row.file, table)
                found.skipped.append({"key": line(row.file), "reason": reason})
            elif not label:
                bare.setdefault(path, table)
            elif not _agree(labels.setdefault(path, (label, split)), (label, split)):
                before = f"{'/'.join(filter(None, labels[path]))} in line {lines[path]}"
                now = f"{'/'.join(filter(None, (label, split)))} in line {row.number}"
                what = f"{table.path} gives an image two labels or splits"
                got = line(f"{key_of(path, files.root)}: {before}, {now}")
                raise DataError(what, got=got, remedy="keep one row for each image")
            else:
                lines.setdefault(path, row.number)
    if again := [path for path in bare if path in labels]:
        name = key_of(bare[again[0]].path, files.root)
        note = f"{len(again)} images have a row without a label in {name}, and one with a label, "
        found.notes.append(line(f"{note}which counts: e.g. {key_of(again[0], files.root)}"))
    if other_case:
        note = f"{len(other_case)} rows name files in another case, e.g. {other_case[0]}"
        found.notes.append(line(note))
    _require_most(tables, found, bool(labels))
    return labels


def _require_most(tables: Tables, found: Found, any_label: bool) -> None:
    """Raises DataError if no row labels an image, or most rows name none."""
    names = ", ".join(str(table.path) for table in tables.used)
    rows = sum(len(table.rows) for table in tables.used)
    missing = found.skipped
    if any_label and 2 * len(missing) <= rows:
        return
    what = f"the rows of {names} name no image"
    got = "no row with a label"
    if missing:
        got = f"{len(missing)} of {rows} rows, e.g. {missing[0]['key']}: {missing[0]['reason']}"
        what = f"most rows of {names} name no image" if any_label else what
    remedy = f"paths are below {tables.files.root}, or names of files there"
    raise DataError(what, got=got, remedy=remedy)


def _unlabeled(rest: Sequence[Path], labels: Labels, names: str, root: Path) -> str:
    """A note on the images that no row labels, and the folders with none that one does."""
    known = {root, *(path.parent for path in labels)}
    whole = list(
        dict.fromkeys(key_of(path.parent, root) for path in rest if path.parent not in known)
    )
    of_all = f", all of {', '.join(f'{name}/' for name in whole[:4])}" if whole else ""
    example = key_of(rest[0], root)
    return line(f"{len(rest)} images that {names} gives no label are left out{of_all}: {example}")


def _require_all_folders(labels: Labels, rest: Sequence[Path], names: str, root: Path) -> None:
    """Raises DataError where rows label some class folders by their names, and others not at all.

    Args:
        rest: images that no row labels.
    """
    folders: dict[Path, set[str]] = defaultdict(set)
    for path, (label, _) in labels.items():
        folders[path.parent].add(look_alike(readable_name(label)))
    if any(said != {look_alike(readable_name(path.name))} for path, said in folders.items()):
        return
    lost = (path for path in rest if path.parent not in (*folders, root))
    if counts := Counter(path.parent for path in lost if split_kind(top_of(path, root)) is None):
        listed = (f"{key_of(path, root)}/ ({count} images)" for path, count in counts.items())
        raise DataError(
            f"{names} labels the images of some class folders only",
            got=line(f"no row for {', '.join(islice(listed, 4))}"),
            expected="a row for the images of every class",
            remedy=f"add rows, move what is no class elsewhere, or remove {names}: then every "
            "folder is a class",
        )


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
