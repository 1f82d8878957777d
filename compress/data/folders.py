"""Folders of images, one folder a class.

    DIR/train/<class>/...  DIR/test/<class>/...      as they are; test may be called val
    DIR/<class>/...                                  split per class with a fixed seed (--set
                                                     data.test_fraction)

Files are told apart by content, not by suffix; hidden files are not there. Folder names become
class names ("water_lily" -> "water lily"). With 0 shots the training images are not needed: class
names and test images are enough.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from compress.data.shots import hold_out
from compress.data.split import ClassInfo, Source, Split, nothing
from compress.engine.config import DataSettings
from compress.engine.errors import DataError, nearest

TRAIN_NAMES = ("train", "training")
TEST_NAMES = (
    "test",
    "testing",
    "val",
    "valid",
    "validation",
)  # the first one present is the test split
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
NOT_IMAGES = frozenset(
    {"thumbs.db", "desktop.ini", "__macosx"}
)  # what desktops leave behind unhidden

ClassFiles = Mapping[str, tuple[Path, ...]]  # folder name -> its files


def open_folder(settings: DataSettings) -> Source:
    """A source over ``settings.path``.

    Raises:
        DataError: not a folder, no class folders, a single class, an empty class, classes that
            differ between train and test, a folder that loops through symbolic links.
    """
    assert settings.path is not None
    root, notes = _descend(_checked(settings.path.expanduser()))
    inside = {entry.name.casefold(): entry for entry in _class_dirs(root)}
    train_root = next(
        (inside[name] for name in TRAIN_NAMES if name in inside and _class_dirs(inside[name])), None
    )
    test_root = next(
        (inside[name] for name in TEST_NAMES if name in inside and _class_dirs(inside[name])), None
    )
    only_splits = set(inside) <= {
        *TRAIN_NAMES,
        *TEST_NAMES,
    }  # otherwise "train" is a class beside "bus" and "car"
    if not only_splits and not (train_root and test_root):
        train_root = test_root = None
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
        names = (
            sorted(set(test_files) | set(train_files))
            if settings.shots == 0
            else sorted(train_files)
        )
        train, test = (
            _split(root, names, train_files, settings),
            _split(root, names, test_files, settings),
        )
        unused = [name for name in TEST_NAMES if name in inside and inside[name] != test_root]
        notes += (
            [f"{', '.join(unused)}/ is not used: {test_root.name}/ is the test split"]
            if unused
            else []
        )
    else:
        files = class_files(train_root or root)
        names = sorted(files)
        both = _split(root, names, files, settings)
        rows = hold_out(both, names, settings.test_fraction)
        train, test = both.subset(rows[0]), both.subset(rows[1])
        notes.append(
            f"no test folder: {settings.test_fraction:.0%} of every class is held out (fixed seed)"
        )
    if settings.shots == 0:
        train = nothing()
        notes.append("0 shots: no training image is used, only the class names and the test images")
    classes = _class_infos(names, settings.category, root)
    return Source(
        root.name,
        classes,
        train,
        test,
        lambda: {"folder": fingerprint_files(root)},
        notes=tuple(notes),
    )


def class_files(base: Path) -> dict[str, tuple[Path, ...]]:
    """The files of every class folder below ``base``, sorted by path.

    Raises:
        DataError: no class folder, a single one, or an empty one.
    """
    folders = _class_dirs(base)
    if not folders:
        loose = sum(1 for _ in _visible(base))
        raise DataError(
            f"{base} has no class folders",
            got=f"{loose} files beside each other" if loose else "an empty folder",
            expected="one folder of images a class, or train/ and test/ with those",
        )
    if len(folders) == 1:
        raise DataError(
            f"{base} has a single class, there is nothing to tell apart",
            got=folders[0].name,
            expected="at least 2 folders",
        )
    found = {folder.name: tuple(walk(folder)) for folder in folders}
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise DataError(
            f"{base} has empty classes",
            got=", ".join(empty[:8]) + (", ..." if len(empty) > 8 else ""),
            expected="images in every class folder",
            remedy="add images or remove the folder",
        )
    return found


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
            elif (
                entry.is_file() or entry.is_symlink()
            ):  # a broken link stays: it is skipped later, with its reason
                yield Path(entry.path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DataError(
                f"{folder} is part of a loop of symbolic links", remedy="remove the link"
            ) from error
        reason = error.strerror or error
        raise DataError(
            f"{folder} cannot be read", got=reason, remedy="check its permissions"
        ) from error


def split_files(base: Path, files: ClassFiles, names: Iterable[str], max_pixels: int) -> Split:
    """A split over files; class numbers follow the order of ``names``, keys are paths below
    ``base``.
    """
    listed = [(path, label) for label, name in enumerate(names) for path in files.get(name, ())]
    paths = [path for path, _ in listed]
    keys = tuple(printable(path.relative_to(base).as_posix()) for path in paths)
    return Split(
        np.array([label for _, label in listed], np.int64), keys, paths.__getitem__, max_pixels
    )


def readable_name(folder: str) -> str:
    """A folder name as words: ``"water_lily"`` -> ``"water lily"``."""
    return " ".join(printable(folder).replace("_", " ").split())


def printable(text: str) -> str:
    """File names that are not valid UTF-8, written with escapes so that JSON can hold them."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def fingerprint_files(base: Path, workers: int = 2) -> str:
    """SHA-256 over the relative name and content of every visible file below a folder."""
    paths, total = list(walk(base)), hashlib.sha256()
    chunks = [paths[start : start + 256] for start in range(0, len(paths), 256)]
    with ThreadPoolExecutor(workers) as pool:
        for chunk, digests in zip(chunks, pool.map(_digests, chunks), strict=True):
            for path, digest in zip(chunk, digests, strict=True):
                total.update(printable(path.relative_to(base).as_posix()).encode() + b"\0" + digest)
    return total.hexdigest()


def _digests(paths: list[Path]) -> list[bytes]:
    return [_digest(path) for path in paths]


def _digest(path: Path) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (
        OSError
    ):  # a broken link: skipped later with its reason, and another state once it is mended
        return b"unreadable"


def _checked(path: Path) -> Path:
    if path.is_dir():
        return path
    if path.is_file():
        archive = path.suffix.lower() in ARCHIVES
        if archive:
            remedy = f"unpack it first (unzip {path.name} -d DIR), then --data DIR"
            raise DataError(f"{path} is an archive", expected="a folder of images", remedy=remedy)
        raise DataError(
            f"{path} is a file", expected="a folder of images", remedy="give the folder around it"
        )
    around = (
        [entry.name for entry in _visible(path.parent) if entry.is_dir()]
        if path.parent.is_dir()
        else []
    )
    remedy = (
        f"in {path.parent}: {nearest(path.name, around)}"
        if around
        else f"{path.parent} has no folders"
    )
    raise DataError(f"{path} does not exist", expected="a folder of images", remedy=remedy)


def _descend(root: Path) -> tuple[Path, list[str]]:
    """Steps into the one folder that an archive was packed around."""
    inside = _visible(root)
    alone = (
        len(inside) == 1
        and inside[0].is_dir()
        and inside[0].name.casefold() not in (*TRAIN_NAMES, *TEST_NAMES)
    )
    if alone and len(_class_dirs(Path(inside[0].path))) > 1:
        return Path(inside[0].path), [
            f"{root.name}/ holds only {inside[0].name}/: the images are read from there"
        ]
    return root, []


def _class_dirs(base: Path) -> list[Path]:
    return [Path(entry.path) for entry in _visible(base) if entry.is_dir()]


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    wanted = (entry for entry in shown if entry.name.casefold() not in NOT_IMAGES)
    return sorted(wanted, key=lambda entry: entry.name)


def _same_classes(train: ClassFiles, test: ClassFiles, test_root: Path) -> None:
    for what, names in (
        ("is missing", set(train) - set(test)),
        ("is unknown to train/", set(test) - set(train)),
    ):
        if names:
            raise DataError(
                f"a class in {test_root} {what}",
                got=", ".join(sorted(names)[:8]),
                expected="the same class folders in train and test",
                remedy="check the spelling and the case",
            )


def _class_infos(folders: Iterable[str], category: str | None, root: Path) -> tuple[ClassInfo, ...]:
    names: dict[str, str] = {}
    for folder in folders:
        name = readable_name(folder)
        if name.casefold() in names:
            raise DataError(
                f"two folders of {root} give the same class name {name!r}",
                got=f"{names[name.casefold()]}, {folder}",
                remedy="rename or merge them",
            )
        names[name.casefold()] = folder
    return tuple(
        ClassInfo(readable_name(folder), readable_name(folder), category)
        for folder in names.values()
    )


def _split(root: Path, names: list[str], files: ClassFiles, settings: DataSettings) -> Split:
    return split_files(root, files, names, settings.max_pixels)
