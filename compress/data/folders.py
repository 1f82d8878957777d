"""Folders of images, one folder a class.

    DIR/train/<class>/...  DIR/test/<class>/...    as they are; test may be named val
    DIR/<class>/...                                split per class with a fixed seed, see
                                                   --set data.test_fraction

Image formats are recognized by content, not by suffix; hidden files are ignored. Folder names
become class names ("water_lily" -> "water lily"). With 0 shots class names and test images suffice.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from compress.data.shots import hold_out
from compress.data.split import ClassInfo, Source, Split, nothing
from compress.engine.config import DataSettings
from compress.engine.errors import DataError, nearest

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")  # the first present is used
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
NOT_IMAGES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})  # unhidden files of desktops

ClassFiles = Mapping[str, tuple[Path, ...]]  # folder name -> its files


def open_folder(settings: DataSettings) -> Source:
    """A source over ``settings.path``.

    Raises:
        DataError: not a folder of at least two classes with images each, the same in train and test
            without loops of symbolic links.
    """
    assert settings.path is not None
    root, notes = _descend(_checked(settings.path.expanduser()))
    inside = {entry.name.casefold(): entry for entry in _class_dirs(root)}
    train_root, test_root = (
        next((inside[name] for name in names if name in inside and _class_dirs(inside[name])), None)
        for names in (TRAIN_NAMES, TEST_NAMES)
    )
    only_splits = set(inside) <= {*TRAIN_NAMES, *TEST_NAMES}
    if not only_splits and not (train_root and test_root):
        train_root = test_root = None  # "train" is a class beside "bus" and "car"
    if test_root and not train_root and settings.shots:
        raise DataError(
            f"{root} has {test_root.name}/ but no train/",
            expected=f"train/ (data.shots is {settings.shots})",
            remedy="add train/<class>/ folders, or use --shots 0",
        )
    if test_root:
        train_files = class_files(train_root) if train_root else {}
        test_files = class_files(test_root)
        if train_root and settings.shots:
            _same_classes(train_files, test_files, test_root)
        names = sorted(train_files if settings.shots else {*test_files, *train_files})
        train, test = (
            split_files(root, files, names, settings.max_pixels)
            for files in (train_files, test_files)
        )
        unused = [name for name in TEST_NAMES if name in inside and inside[name] != test_root]
        if unused:
            notes.append(f"{', '.join(unused)}/ is not used: {test_root.name}/ is the test split")
    else:
        files = class_files(train_root or root)
        names = sorted(files)
        both = split_files(root, files, names, settings.max_pixels)
        train, test = (both.subset(rows) for rows in hold_out(both, names, settings.test_fraction))
        notes.append(
            f"no test folder: {settings.test_fraction:.0%} of every class is held out (fixed seed)"
        )
    if settings.shots == 0:
        train = nothing()
        notes.append("0 shots: no training image is used, only the class names and the test images")
    return Source(
        root.name,
        _class_infos(names, settings.category, root),
        train,
        test,
        lambda: {"folder": fingerprint_files(root)},
        notes=tuple(notes),
    )


def class_files(base: Path) -> dict[str, tuple[Path, ...]]:
    """The files of every class folder below ``base``, sorted by path.

    Raises:
        DataError: fewer than two class folders, or an empty one.
    """
    folders = _class_dirs(base)
    if not folders:
        loose = len(_visible(base))
        raise DataError(
            f"{base} has no class folders",
            got=f"{loose} files beside each other" if loose else "an empty folder",
            expected="one folder of images a class, or train/ and test/ with those",
        )
    if len(folders) == 1:
        what = f"{base} has a single class, there is nothing to tell apart"
        raise DataError(what, got=folders[0].name, expected="at least 2 folders")
    listed = {folder.name: tuple(walk(folder)) for folder in folders}
    empty = [name for name, files in listed.items() if not files]
    if empty:
        got = ", ".join(empty[:8]) + (", ..." if len(empty) > 8 else "")
        remedy = "add images or remove the folder"
        raise DataError(f"{base} has empty classes", got=got, remedy=remedy)
    return listed


def walk(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """Every visible file below a folder, sorted, through symbolic links.

    Raises:
        DataError: a link that leads back to a folder above it, or a folder that cannot be read.
    """
    try:
        stat = folder.stat()
        here = (stat.st_dev, stat.st_ino)
        if here in above:
            raise OSError(errno.ELOOP, "it leads back to a folder above it")
        for entry in _visible(folder):
            if entry.is_dir():  # raises ELOOP for a link to itself
                yield from walk(Path(entry.path), above | {here})
            elif entry.is_file() or entry.is_symlink():  # a broken link is skipped later
                yield Path(entry.path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            what = f"{folder} is part of a loop of symbolic links"
            raise DataError(what, remedy="remove the link") from error
        got = error.strerror or error
        remedy = "check its permissions"
        raise DataError(f"{folder} cannot be read", got=got, remedy=remedy) from error


def split_files(base: Path, files: ClassFiles, names: Iterable[str], max_pixels: int) -> Split:
    """A split of files; class numbers follow ``names``, keys are paths below ``base``."""
    listed = [(path, label) for label, name in enumerate(names) for path in files.get(name, ())]
    paths = [path for path, _ in listed]
    labels = np.array([label for _, label in listed], np.int64)
    keys = tuple(printable(path.relative_to(base).as_posix()) for path in paths)
    return Split(labels, keys, paths.__getitem__, max_pixels)


def readable_name(folder: str) -> str:
    """A folder name as words: ``"water_lily"`` -> ``"water lily"``."""
    return " ".join(printable(folder).replace("_", " ").split())


def printable(text: str) -> str:
    """A file name with escapes for whatever is not valid UTF-8, so that JSON can hold it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def fingerprint_files(base: Path) -> str:
    """SHA-256 over the relative name and content of every visible file below a folder."""
    paths = list(walk(base))
    total = hashlib.sha256()
    with ThreadPoolExecutor(2) as threads:
        for start in range(0, len(paths), 4096):  # a task a file: keeps their number small
            part = paths[start : start + 4096]
            for path, digest in zip(part, threads.map(_digest, part), strict=True):
                name = printable(path.relative_to(base).as_posix())
                total.update(name.encode() + b"\0" + digest)
    return total.hexdigest()


def _digest(path: Path) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:  # a broken link: skipped later with its reason, another state once it is mended
        return b"unreadable"


def _checked(path: Path) -> Path:
    if path.is_dir():
        return path
    if not path.is_file():
        beside = [entry.name for entry in _class_dirs(path.parent)] if path.parent.is_dir() else []
        what = f"{path} does not exist"
        remedy = f"in {path.parent}: {nearest(path.name, beside) if beside else 'no folders'}"
    elif path.suffix.lower() in ARCHIVES:
        what = f"{path} is an archive"
        remedy = f"unpack it first (unzip {path.name} -d DIR), then --data DIR"
    else:
        what = f"{path} is a file"
        remedy = "give the folder around it"
    raise DataError(what, expected="a folder of images", remedy=remedy)


def _descend(root: Path) -> tuple[Path, list[str]]:
    """Steps into the single folder that an archive was packed around, with a note."""
    inside = _visible(root)
    if len(inside) != 1 or not inside[0].is_dir():
        return root, []
    only = Path(inside[0].path)
    if only.name.casefold() in (*TRAIN_NAMES, *TEST_NAMES) or len(_class_dirs(only)) < 2:
        return root, []
    return only, [f"{root.name}/ holds only {only.name}/: the images are read from there"]


def _class_dirs(base: Path) -> list[Path]:
    return [Path(entry.path) for entry in _visible(base) if entry.is_dir()]


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    kept = (entry for entry in shown if entry.name.casefold() not in NOT_IMAGES)
    return sorted(kept, key=lambda entry: entry.name)


def _same_classes(train: ClassFiles, test: ClassFiles, test_root: Path) -> None:
    missing = sorted(set(train) - set(test))
    names = missing or sorted(set(test) - set(train))
    if names:
        raise DataError(
            f"a class in {test_root} is {'missing' if missing else 'unknown to train/'}",
            got=", ".join(names[:8]),
            remedy="train and test need the same class folders: check the spelling and the case",
        )


def _class_infos(folders: Sequence[str], category: str | None, root: Path) -> tuple[ClassInfo, ...]:
    seen: dict[str, str] = {}
    for folder in folders:
        name = readable_name(folder)
        other = seen.setdefault(name.casefold(), folder)
        if other != folder:
            what = f"two folders of {root} give the same class name {name!r}"
            raise DataError(what, got=f"{other}, {folder}", remedy="rename or merge them")
    return tuple(ClassInfo(name, name, category) for name in map(readable_name, folders))
