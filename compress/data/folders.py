"""Folders of images, one folder a class.

    DIR/train/<class>/...  DIR/test/<class>/...    as they are; test may be named val
    DIR/<class>/...                                split per class with a fixed seed, see
                                                   --set data.test_fraction

Images are recognized by content or suffix (``image_files.py``); what else lies beside them takes no
part, hidden files are ignored. Folder names become class names ("water_lily" -> "water lily"). With
0 shots class names and test images suffice.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from compress.data.class_names import first_alike, one_form, readable_name, refuse_names, shown
from compress.data.shots import hold_out
from compress.data.split import ClassInfo, Source, Split, nothing
from compress.data.walk import (
    fingerprint_files,
    is_folder,
    key_of,
    last_change,
    takes_part,
    visible,
    walk,
)
from compress.engine.config import DataSettings
from compress.engine.errors import DataError, nearest
from runtime.files.paths import line

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")  # the first present is used
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
# folders beside the classes that are none, if they hold no image: labelers' and trainers' own
SIDE_FOLDERS = frozenset(
    ("annotations", "annotation", "labels", "label", "jsons", "json", "xmls", "xml", "captions")
    + ("metadata", "meta", "checkpoints", "logs", "runs", "thumbnails", "_thumbnails", "imagesets")
)

ClassFiles = Mapping[str, tuple[Path, ...]]  # folder name in one form of Unicode -> its images


def open_folder(settings: DataSettings) -> Source:
    """A source over ``settings.path``.

    Raises:
        DataError: not a folder of at least two classes with images each, the same in train and test
            without loops of symbolic links.
    """
    assert settings.path is not None
    root, notes = _descend(_checked(settings.path))
    left_out: list[Path] = []
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
        train_files = class_files(train_root, left_out) if train_root else {}
        test_files = _matched(train_files, class_files(test_root, left_out), test_root)
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
        files = class_files(train_root or root, left_out)
        names = sorted(files)
        both = split_files(root, files, names, settings.max_pixels)
        train, test = (both.subset(rows) for rows in hold_out(both, names, settings.test_fraction))
        notes.append(
            f"no test folder: {settings.test_fraction:.0%} of every class is held out (fixed seed)"
        )
    if settings.shots == 0:
        train = nothing()
        notes.append("0 shots: no training image is used, only the class names and the test images")
    if left_out:
        notes.append(_left_out_note(left_out, root))
    return Source(
        root.name,
        _class_infos(names, settings.category, root),
        train,
        test,
        lambda: {"folder": fingerprint_files(root)},
        notes=tuple(notes),
        last_change=lambda: last_change(root),
    )


def class_files(base: Path, left_out: list[Path] | None = None) -> dict[str, tuple[Path, ...]]:
    """The images of every class folder below ``base``, sorted by path.

    Args:
        left_out: gets whatever else lies there: files that are no images, folders that are no
            classes, images beside the folders.

    Raises:
        FileNotFoundError: no such folder.
        DataError: fewer than two class folders, one without images, or two of one name.
    """
    os.stat(base)
    folders = _class_dirs(base)
    beside = [Path(entry.path) for entry in visible(base) if Path(entry.path) not in folders]
    if not folders:
        loose = len([path for path in beside if takes_part(path, base)])
        raise DataError(
            f"{base} has no class folders",
            got=f"{loose} files beside each other" if loose else "an empty folder",
            expected="one folder of images a class, or train/ and test/ with those",
        )
    if len(folders) == 1:
        what = f"{base} has a single class, there is nothing to tell apart"
        raise DataError(what, got=folders[0].name, expected="at least 2 folders")
    listed: dict[str, tuple[Path, ...]] = {}
    empty = []
    others = [path for path in beside if path.is_dir() or takes_part(path, base)]
    for folder in folders:
        files = list(walk(folder))
        images = tuple(path for path in files if takes_part(path, base))
        name = one_form(folder.name)
        if name in listed:
            raise _same_name(base, listed[name][0].relative_to(base).parts[0], folder.name)
        if images:
            listed[name] = images
        else:
            example = f"{len(files)} files, none an image, e.g. {files[0].name}" if files else ""
            empty.append(f"{folder.name} ({example})" if files else folder.name)
        taken = set(images)
        others += [path for path in files if path not in taken]
    if empty:
        got = line(", ".join(empty[:8]) + (", ..." if len(empty) > 8 else ""))
        remedy = "add images or remove the folder"
        raise DataError(f"{base} has empty classes", got=got, remedy=remedy)
    if left_out is not None:
        left_out += others
    return listed


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
        is_there = os.path.isdir(path.parent)
        beside = [folder.name for folder in _class_dirs(path.parent)] if is_there else []
        what = f"{path} does not exist"
        remedy = f"in {path.parent}: {nearest(path.name, beside) if beside else 'no folders'}"
    elif path.suffix.lower() in ARCHIVES:
        what = f"{path} is an archive"
        remedy = f"unpack it first (unzip {shlex.quote(path.name)} -d DIR), then --data DIR"
    else:
        what = f"{path} is a file"
        remedy = "give the folder around it"
    raise DataError(what, expected="a folder of images", remedy=remedy)


def _descend(root: Path) -> tuple[Path, list[str]]:
    """Steps into the single folder that an archive was packed around, with a note."""
    inside = [Path(entry.path) for entry in visible(root)]
    folders = [path for path in inside if path.is_dir()]
    if len(folders) != 1 or any(takes_part(path, root) for path in inside if path.is_file()):
        return root, []
    only = folders[0]
    if only.name.casefold() in (*TRAIN_NAMES, *TEST_NAMES) or len(_class_dirs(only)) < 2:
        return root, []
    return only, [f"{root.name}/ holds only {only.name}/: the images are read from there"]


def _class_dirs(base: Path) -> list[Path]:
    folders = [Path(entry.path) for entry in visible(base) if is_folder(entry)]
    return [path for path in folders if not _is_side_folder(path, base)]


def _is_side_folder(folder: Path, base: Path) -> bool:
    return folder.name.casefold() in SIDE_FOLDERS and not any(
        takes_part(path, base) for path in walk(folder)
    )


def _left_out_note(paths: Sequence[Path], root: Path) -> str:
    folders = [f"{key_of(path, root)}/" for path in paths if path.is_dir()]
    files = [key_of(path, root) for path in paths if not path.is_dir()]
    parts = [f"{len(files)} files, e.g. {files[0]}"] if files else []
    parts += [f"folders {', '.join(folders[:8])}"] if folders else []
    return f"left out, since they are no images of a class: {'; '.join(parts)}"


def _matched(train: ClassFiles, test: ClassFiles, test_root: Path) -> ClassFiles:
    """The test folders under the names of the train folders that read the same."""
    pair = first_alike({name: readable_name(name) for name in test})
    if pair:
        raise _same_name(test_root, *pair)
    known = {readable_name(name): name for name in train}
    return {known.get(readable_name(name), name): files for name, files in test.items()}


def _same_classes(train: ClassFiles, test: ClassFiles, test_root: Path) -> None:
    missing = sorted(set(train) - set(test))
    names = missing or sorted(set(test) - set(train))
    if names:
        raise DataError(
            f"a class in {test_root} is {'missing' if missing else 'unknown to train/'}",
            got=line(", ".join(names[:8])),
            remedy="train and test need the same class folders: check the spelling and the case",
        )


def _class_infos(folders: Sequence[str], category: str | None, root: Path) -> tuple[ClassInfo, ...]:
    names = {folder: readable_name(folder) for folder in folders}
    if pair := first_alike(names):
        raise _same_name(root, *pair)
    refuse_names(names, root)
    return tuple(ClassInfo(name, name, category) for name in names.values())


def _same_name(base: Path, first: str, second: str) -> DataError:
    what = f"two folders of {base} give the same class name {readable_name(first)!r}"
    return DataError(what, got=shown(first, second), remedy="rename or merge them")
