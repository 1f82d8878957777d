"""A folder of images, or an archive of one, as a source of classes.

Where the images are: ``layout.py`` for class folders, ``tables/`` for labels.csv and its like.
What the classes are called: ``naming.py``, ``words.py`` and ``class_list.py``. Images are
recognized by content or suffix (``runtime/preprocess/image_files.py``); what else lies beside them
takes no part, hidden files are ignored. With 0 shots class names and test images suffice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.data.class_names import one_form
from compress.data.folders.archives import KINDS, is_archive, shown_name, unpack, unpacking_notes
from compress.data.folders.class_list import FILES, ClassList, read_class_list
from compress.data.folders.explained import ARCHIVES, FOREIGN, explained
from compress.data.folders.layout import (
    ClassFiles,
    Found,
    class_dirs,
    read_class_folders,
    step_into,
)
from compress.data.folders.levels import NESTED
from compress.data.folders.naming import Named, class_infos, name_classes, naming_notes
from compress.data.folders.split_names import split_kind
from compress.data.folders.tables.read import find_tables, read_tables
from compress.data.folders.tables.table import NAMES, Table
from compress.data.folders.walk import fingerprint_files, key_of, last_change, takes_part, walk
from compress.data.shots import hold_out
from compress.data.split import FolderFacts, Source, Split, nothing
from compress.engine.config import DataSettings
from compress.engine.errors import DataError, nearest
from runtime.files.paths import line

BESIDE = (*NAMES, *FILES)  # files that say what the images beside them are


@dataclass(frozen=True)
class Folder:
    """A folder or an archive as it lies there, before its classes are named."""

    root: Path
    name: str
    found: Found
    listed: ClassList
    tables: list[Table]
    notes: list[str]
    unused: list[str]  # those of the notes that say which tables take no part, and why
    given: tuple[Path, Path]  # the folder or archive itself, and where its files lie

    def explained(self) -> AbstractContextManager[None]:
        """Errors about its classes say what else lies there, and name the archive."""
        return explained(self.root, self.unused, *self.given)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Files that are no images of a class, and folders that are no class."""
        found = self.found
        return tuple(_shown(path, self.root) for path in (*found.left_out, *found.unlabeled))


def read_folder(path: Path, level: str, root_of_datasets: Path, above: bool = False) -> Folder:
    """The images of a folder or an archive by split and class; reads lists of them, no image.

    Args:
        level: ``data.class_folders``.
        root_of_datasets: where archives are unpacked.
        above: the last of the single folders that were stepped into is a class.

    Raises: DataError: nothing in it that images and their classes can be read from.
    """
    given = _checked(path)
    packed = not given.is_dir()
    start = unpack(given, root_of_datasets) if packed else given
    root, notes = step_into(start, BESIDE)
    tables = find_tables(root)
    unused = tables.notes
    if not tables.used:  # then what lies beside a single folder labels nothing
        inner, further = step_into(root, BESIDE, at_root=FILES)
        if inner != root:
            root, tables = inner, find_tables(inner)
            notes, unused = [*notes, *further], [*unused, *tables.notes]
    if above:
        if root == start:
            raise DataError(f"{given} is stepped into no folder", expected="a single folder in it")
        root, tables, notes = root.parent, find_tables(root.parent), []
        unused = tables.notes
    name = shown_name(given) if packed else root.name
    if packed:
        notes = [f"{given.name} is read as a folder of its files", *unpacking_notes(start)]
    with explained(root, unused, given, start):
        listed = read_class_list(root)
        used = bool(tables.used)
        found = read_tables(tables, level, listed) if used else read_class_folders(root, level)
    return Folder(root, name, found, listed, tables.used, [*notes, *unused], unused, (given, start))


def open_folder(settings: DataSettings, root_of_datasets: Path) -> Source:
    """A source over ``settings.path``, a folder or an archive.

    Args:
        root_of_datasets: where archives are unpacked.

    Raises:
        DataError: nothing in it that at least two classes and their images can be read from.
    """
    assert settings.path is not None
    folder = read_folder(settings.path, settings.class_folders, root_of_datasets)
    with folder.explained():
        return _source(folder, settings)


def _source(folder: Folder, settings: DataSettings) -> Source:
    root, found, listed = folder.root, folder.found, folder.listed
    if found.test is not None and not found.train and settings.shots:
        raise DataError(
            f"{root} has {found.test_name}/ but no train/",
            expected=f"train/ (data.shots is {settings.shots})",
            remedy="add train/<class>/ folders, or use --shots 0",
        )
    named = name_classes(found, listed, root)
    labels, unknown = _labels(named, settings)
    if len(labels) < 2:
        what = f"{root} has a single class, there is nothing to tell apart"
        raise DataError(what, got=", ".join(labels) or "none", expected="at least 2 folders")
    if settings.shots and not any(named.train.values()):
        got = line(", ".join(f"{name} ({why})" for name, why in list(named.empty.items())[:8]))
        raise DataError(f"{root} has empty classes only", got=got, remedy="add images")
    if unknown and not any((named.test or {}).get(label) for label in labels):
        raise _nothing_tested(folder, labels, unknown)
    train, test = _splits(root, named, labels, settings)
    infos = class_infos(labels, named, listed, settings.category)
    notes = [*folder.notes, *found.notes, *naming_notes(named, infos)]
    notes += _test_notes(found, named, labels, test, unknown, settings)
    if settings.shots == 0:
        train = nothing()
        notes.append("0 shots: no training image is used, only the class names and the test images")
    if found.left_out:
        notes.append(_left_out_note(found, root))
    empty = {} if settings.shots == 0 else {n: w for n, w in named.empty.items() if n in labels}
    return Source(
        folder.name,
        infos,
        train,
        test,
        lambda: _identity(root, listed, folder.tables),
        notes=tuple(notes),
        last_change=lambda: last_change(root),
        facts=FolderFacts(
            named.splits,
            empty,
            unknown,
            tuple(found.skipped),
            folder.left_out,
            tuple(named.renamed),
            found.test is None,
        ),
    )


def class_files(base: Path) -> dict[str, tuple[Path, ...]]:
    """The images of every class folder of a named dataset, by folder in one form of Unicode.

    Raises:
        FileNotFoundError: no such folder.
        DataError: fewer than two class folders, one without images, or two of one name.
    """
    os.stat(base)
    files: dict[str, tuple[Path, ...]] = {}
    for folder in class_dirs(base):
        images = tuple(path for path in walk(folder) if takes_part(path, base))
        name = one_form(folder.name)
        if name in files or not images:
            what = f"{base} has {'two classes of one name' if name in files else 'an empty class'}"
            raise DataError(what, got=line(folder.name), remedy="place the dataset's files again")
        files[name] = images
    if len(files) < 2:
        raise DataError(f"{base} has no class folders", expected="one folder of images a class")
    return files


def split_files(base: Path, files: ClassFiles, names: Iterable[str], max_pixels: int) -> Split:
    """A split of files; class numbers follow ``names``, keys are paths below ``base``."""
    listed = [(path, label) for label, name in enumerate(names) for path in files.get(name, ())]
    paths = [path for path, _ in listed]
    labels = np.array([label for _, label in listed], np.int64)
    keys = tuple(key_of(path, base) for path in paths)
    if len(set(keys)) < len(keys):  # a name that is no UTF-8 beside one that spells its escape
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError("two images have one name", got=line(twice), remedy="rename one of them")
    return Split(labels, keys, paths.__getitem__, max_pixels)


def _checked(path: Path) -> Path:
    if os.path.isdir(path):  # unlike Path.is_dir, it takes names that no file system can hold
        return path
    if not os.path.isfile(path):
        beside = _folders_beside(path)
        what = f"{path} does not exist"
        remedy = f"in {path.parent}: {nearest(path.name, beside) if beside else 'no folders'}"
    elif is_archive(path):
        return path
    elif path.suffix.lower() in FOREIGN:
        what = f"{path} is an archive of a kind that is not read"
        remedy = f"unpack it, and give the folder (read are {KINDS})"
    elif path.suffix.lower() in ARCHIVES:
        what = f"{path} is an archive that is damaged, cut, or of another kind than its name says"
        remedy = "copy or download it again, or unpack it, and give the folder"
    else:
        what = f"{path} is a file"
        remedy = "give the folder around it"
    raise DataError(what, expected="a folder of images, or an archive of one", remedy=remedy)


def _folders_beside(path: Path) -> list[str]:
    """Names of folders where the path should be; what cannot be read is none."""
    try:
        with os.scandir(path.parent) as entries:
            return [entry.name for entry in entries if os.path.isdir(entry.path)]
    except OSError:
        return []


def _labels(named: Named, settings: DataSettings) -> tuple[list[str], dict[str, int]]:
    """The classes in order, and those of the test split that no training folder declares."""
    test = named.test or {}
    if not settings.shots or not named.train:
        return sorted({*test, *named.train}), {}
    unknown = {name: len(paths) for name, paths in test.items() if name not in named.train}
    return sorted(named.train), {name: count for name, count in unknown.items() if count}


def _nothing_tested(folder: Folder, labels: Sequence[str], unknown: Mapping[str, int]) -> DataError:
    """The error for a test split of other classes than those for training."""
    nested = [note for note in folder.found.notes if note.startswith(NESTED)]
    return DataError(
        f"no class of {folder.found.test_name}/ in {folder.root} is one for training",
        got=line("; ".join([", ".join(list(unknown)[:8]), *nested])),
        expected=line(", ".join(labels[:8])),
        remedy="give them the same names, or say which is which in classes.yaml (folder: label)",
    )


def _splits(
    root: Path, named: Named, labels: list[str], settings: DataSettings
) -> tuple[Split, Split]:
    whole = split_files(root, named.train, labels, settings.max_pixels)
    if named.test is not None:
        return whole, split_files(root, named.test, labels, settings.max_pixels)
    train, test = (whole.subset(rows) for rows in hold_out(whole, labels, settings.test_fraction))
    return train, test


def _test_notes(
    found: Found,
    named: Named,
    labels: list[str],
    test: Split,
    unknown: Mapping[str, int],
    settings: DataSettings,
) -> list[str]:
    """What the test images cannot tell, in a line each."""
    notes = []
    if found.test is None and len(test):
        share = f"{settings.test_fraction:.0%} of every class is held out (fixed seed)"
        loose = [
            path.name
            for path in found.left_out
            if path.is_dir() and split_kind(path.name) == "test"
        ]
        missing = f"no class folders in {loose[0]}/" if loose else "no test folder"
        notes.append(f"{missing}: {share}")
    if unknown:
        listed = ", ".join(f"{name} ({count})" for name, count in list(unknown.items())[:8])
        notes.append(
            f"test images of classes without a training folder are not used: {listed}; an empty "
            "training folder would declare such a class, and classes.yaml can name another"
        )
    untested = [
        labels[i] for i in np.flatnonzero(np.bincount(test.labels, minlength=len(labels)) == 0)
    ]
    if not len(test):
        notes.append("no image is left for testing, so no accuracy is measured: add test images")
    elif untested:
        notes.append(f"no test image, so no accuracy, of: {', '.join(untested[:8])}")
    if settings.shots and (empty := [name for name in named.empty if name in labels]):
        notes.append(f"no training image of: {', '.join(empty[:8])}; what is generated stands in")
    return [line(note) for note in notes]


def _identity(root: Path, listed: ClassList, tables: Iterable[Table]) -> dict[str, str]:
    """Fingerprints of the images, and of the texts that name them."""
    known = {"folder": fingerprint_files(root)}
    if listed.digest is not None:
        known["classes"] = listed.digest
    return known | {key_of(table.path, root): table.digest for table in tables}


def _shown(path: Path, root: Path) -> str:
    return f"{key_of(path, root)}/" if path.is_dir() else key_of(path, root)


def _left_out_note(found: Found, root: Path) -> str:
    folders = [_shown(path, root) for path in found.left_out if path.is_dir()]
    files = [key_of(path, root) for path in found.left_out if not path.is_dir()]
    parts = [f"{len(files)} files, e.g. {files[0]}"] if files else []
    parts += [f"folders {', '.join(folders[:8])}"] if folders else []
    return f"left out, since they are no images of a class: {'; '.join(parts)}"
