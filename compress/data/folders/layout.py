"""How a folder of images is laid out: its splits, its class folders, what stands beside them.

DIR/train/<class>/...  DIR/test/<class>/...    train and test under any of their usual names
DIR/<class>/...  DIR/test/<class>/...          train beside test, with the same classes
DIR/<class>/train/...  DIR/<class>/test/...    the splits inside of the classes
DIR/<class>/...                                a part is held out for testing
DIR/<group>/<class>/...                        nested: levels.py says which folders are the classes

What can be read in two ways is an error that names both, or a note.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compress.data.class_names import look_alike
from compress.data.folders.levels import class_level, is_part, leaves
from compress.data.folders.split_names import (
    TEST_NAMES,
    nearest_split,
    plain,
    split_kind,
    split_name,
)
from compress.data.folders.walk import is_folder, key_of, takes_part, visible, walk
from compress.engine.errors import DataError
from runtime.files.paths import line

# folders beside the classes that are none, if they hold no image: labelers' and trainers' own
SIDE_FOLDERS = frozenset(
    ("annotations", "annotation", "labels", "label", "jsons", "json", "xmls", "xml", "captions")
    + ("metadata", "meta", "checkpoints", "logs", "runs", "thumbnails", "_thumbnails", "imagesets")
)
INNER = ("leaf", "merged")  # levels at which the innermost folders are the classes

ClassFiles = Mapping[str, tuple[Path, ...]]  # name of a folder or label -> its images


@dataclass
class Found:
    """The images of a folder by split and class, and what was noticed on the way.

    Attributes:
        train: what shots are drawn from; without ``test`` a part of it is held out.
        splits: all splits by their own names, also those that are not used.
        left_out: files that are no images of a class, folders that are no class.
        unlabeled: images that a table gives no label.
        skipped: ``key`` and ``reason`` of images that are named and not there.
        empty: folder -> what lies in it, of classes without images.
    """

    train: ClassFiles = field(default_factory=dict)
    test: ClassFiles | None = None
    test_name: str = ""
    splits: dict[str, ClassFiles] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    unlabeled: list[Path] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    empty: dict[str, str] = field(default_factory=dict)

    def take(self, splits: Mapping[str, ClassFiles]) -> None:
        """Chooses the training and the test split among all; "" is a split without a name."""
        whole = self._by_plain_name(splits)
        in_order = sorted(whole, key=lambda name: (split_kind(name) == "test", name))
        self.splits = {name or "train": whole[name] for name in in_order}
        train = [name for name in in_order if split_kind(name) != "test"]
        tests = [name for name in in_order if split_kind(name) == "test"]
        self.train = _joined([whole[name] for name in train])
        if train[1:]:
            self.notes.append(line(f"{_folders(train)} are both for training"))
        if tests:
            self.test_name, *unused = sorted(
                tests, key=lambda name: (TEST_NAMES.index(split_name(name)), name)
            )
            self.test = whole[self.test_name]
            if unused:
                note = f"{_folders(unused)} is not used: {self.test_name}/ is the test split"
                self.notes.append(line(note))

    def _by_plain_name(self, splits: Mapping[str, ClassFiles]) -> dict[str, ClassFiles]:
        """Test/ and test/ are one split; images of no split are for training."""
        groups: dict[str, list[str]] = {}
        in_order = sorted(splits, key=lambda name: (name != plain(name), name))
        train = next((plain(name) for name in in_order if split_kind(name) == "train"), "")
        for name in in_order:
            groups.setdefault(plain(name) or train, []).append(name)
        whole: dict[str, ClassFiles] = {}
        for names in groups.values():
            own = [name for name in names if name]
            whole[own[0] if own else ""] = _joined([splits[name] for name in names])
            if own[1:]:
                self.notes.append(line(f"{_folders(own)} are read as one split"))
            if own and "" in names:
                count = sum(map(len, splits[""].values()))
                self.notes.append(f"{count} images are in no split: they are for training")
        return whole


def _joined(splits: Sequence[ClassFiles]) -> dict[str, tuple[Path, ...]]:
    """The images of several splits by class."""
    names = dict.fromkeys(name for files in splits for name in files)
    return {name: tuple(path for one in splits for path in one.get(name, ())) for name in names}


def _folders(names: Iterable[str]) -> str:
    return ", ".join(f"{name}/" for name in names)


def read_class_folders(root: Path, level: str) -> Found:
    """The images of the class folders of a folder.

    Args:
        level: ``data.class_folders``.

    Raises: DataError: no class folders, a single one, or some that can be read in two ways.
    """
    found = Found()
    if inside := _splits_inside(root):
        found.notes.append("the folders in every class are its splits")
        found.take(inside)
    else:
        found.take(read_splits(_splits(root, level, found), level, found, root))
    return found


def read_splits(
    splits: Mapping[str, Path], level: str, found: Found, root: Path
) -> dict[str, ClassFiles]:
    """The images of the class folders of every split; one rule for all says which are those.

    A split that lies in another, as test/ beside classes, holds no class of that.
    """
    apart = set(splits.values())
    outer = {
        name: [path for path in class_dirs(base) if path not in apart]
        for name, base in splits.items()
    }
    if level == "auto":
        level, notes = class_level([path for paths in outer.values() for path in paths], root)
        found.notes += notes
    return {
        name: _of_split(base, outer[name], apart, level, found) for name, base in splits.items()
    }


def _splits(root: Path, level: str, found: Found) -> dict[str, Path]:
    """Split -> the folder around its classes; "" for a folder without splits.

    Of folders named as splits those with class folders are. Both kinds are splits whatever lies
    beside them; one kind is where nothing else holds images, and test/ beside its own classes.
    """
    inside = class_dirs(root)
    splits = {path.name: path for path in inside if split_kind(path.name) and class_dirs(path)}
    beside = [path for path in inside if path.name not in splits]
    if not splits:
        if {split_kind(path.name) for path in inside} == {"train", "test"}:
            raise _no_classes_in(inside, root)
        return {"": root}
    kinds = {split_kind(name) for name in splits}
    others = [path for path in beside if not split_kind(path.name) and leaves(path)]
    if kinds == {"train", "test"} or not others:
        found.left_out += beside
        return splits
    inner = [(path, one) for path in splits.values() for one in class_dirs(path)]
    common = {look_alike(one.name) for _, one in inner} & {look_alike(p.name) for p in others}
    if kinds == {"test"} and common:
        names = _folders(splits)
        found.notes.append(line(f"{names} holds classes that lie beside it: it is for testing"))
        return {"": root, **splits}
    if level != "auto" or all(is_part(one, path) for path, one in inner):
        return {"": root}  # "train" is a class beside "bus" and "car"
    raise _split_or_class(splits, others, root)


def _splits_inside(root: Path) -> dict[str, ClassFiles]:
    """The splits of DIR/<class>/train and DIR/<class>/test; none if any class lacks them."""
    splits: dict[str, dict[str, tuple[Path, ...]]] = {}
    for folder in class_dirs(root):
        inside = class_dirs(folder)
        for path in inside:
            images = tuple(one for one in walk(path) if takes_part(one, root))
            splits.setdefault(path.name, {})[folder.name] = images
        if not inside or set(leaves(folder)) - set(inside):
            return {}
    kinds = {split_kind(name) for name in splits}
    return dict(splits) if kinds == {"train", "test"} else {}


def _no_classes_in(splits: Sequence[Path], root: Path) -> DataError:
    names = " and ".join(f"{path.name}/" for path in splits)
    return DataError(
        f"{names} of {root} have no class folders",
        expected="train/<class>/ and test/<class>/, or a labels.csv",
        remedy="sort the images into a folder a class, or write a table of file_name,label",
    )


def _split_or_class(splits: Iterable[str], others: Sequence[Path], root: Path) -> DataError:
    """The error for train/ with folders in it, beside folders that are no split."""
    typos = [f"{path.name}/ as {near}/" for path in others if (near := nearest_split(path.name))]
    move = f"name {', '.join(typos)}" if typos else "move the others elsewhere"
    names = [path.name for path in others[:8]]
    return DataError(
        f"{_folders(splits)} of {root} can be a split or a class",
        got=line(f"folders in it, and {_folders(names)} beside it"),
        expected="only splits, or only classes",
        remedy=line(f"for a split {move}; for a class --set data.class_folders=top"),
    )


def class_dirs(base: Path) -> list[Path]:
    """The folders of a folder but those that labelers and trainers leave there."""
    folders = [Path(entry.path) for entry in visible(base) if is_folder(entry)]
    return [path for path in folders if not _is_side_folder(path, base)]


def step_into(
    root: Path, tables: Collection[str], at_root: Collection[str] | None = None
) -> tuple[Path, list[str]]:
    """The folder with the classes inside single folders, as archives have them, with a note.

    Args:
        tables: names of files that belong to the images beside them, so that none is stepped over.
        at_root: those that do so in ``root`` itself, if others.
    """
    place = found = root
    kept = tables if at_root is None else at_root
    while (only := _only_folder(place, kept)) is not None:
        place, kept = only, tables
        inner = class_dirs(place)
        has_split = any(split_kind(path.name) for path in inner)
        if len(inner) > 1 or has_split or _has_file(place, tables):
            found = place
    if found == root:
        return root, []
    inside = key_of(found, root)
    return found, [f"{root.name}/ holds only {inside}/: the images are read from there"]


def _only_folder(folder: Path, tables: Collection[str]) -> Path | None:
    """The single folder in a folder without images or tables beside it."""
    inside = [Path(entry.path) for entry in visible(folder)]
    folders = [path for path in inside if path.is_dir()]
    if len(folders) != 1 or split_kind(folders[0].name) or _has_file(folder, tables):
        return None
    beside = any(takes_part(path, folder) for path in inside if path.is_file())
    return None if beside else folders[0]


def _has_file(folder: Path, names: Collection[str]) -> bool:
    return any(entry.name.casefold() in names for entry in visible(folder))


def _of_split(
    base: Path, outer: Sequence[Path], apart: Collection[Path], level: str, found: Found
) -> dict[str, tuple[Path, ...]]:
    """The images of every class folder of a split; empty ones too."""
    known = {*outer, *apart}
    beside = [path for entry in visible(base) if (path := Path(entry.path)) not in known]
    if not outer:
        loose = len([path for path in beside if takes_part(path, base)])
        got = f"{loose} files beside each other" if loose else "no image"
        got = got if beside else "an empty folder"
        raise DataError(
            f"{base} has no class folders",
            got=got,
            expected="one folder of images a class, train/ and test/ with those, or a labels.csv",
        )
    without = _without_classes(outer) if level in INNER else []
    folders = _named([path for path in outer if path not in without], level, base)
    lost = [path for path in beside if path.is_symlink() and not os.path.exists(path)]
    named = {path for path in beside if path.is_dir() or takes_part(path, base)}
    found.left_out += [*(path for path in beside if path in {*named, *lost}), *without]
    for path in lost:
        found.notes.append(line(f"{key_of(path, base)} is a link that leads nowhere"))
    files: dict[str, tuple[Path, ...]] = {}
    for name, places in folders.items():
        listed = [
            path
            for folder in places
            for path in walk(folder)
            if level not in INNER or path.parent == folder
        ]
        images = tuple(path for path in listed if takes_part(path, base))
        files[name] = images
        if not images:
            example = f"{len(listed)} files, none an image, e.g. {listed[0].name}" if listed else ""
            found.empty.setdefault(name, line(example or "an empty folder"))
        taken = set(images)
        found.left_out += [path for path in listed if path not in taken]
    return files


def _without_classes(outer: Sequence[Path]) -> list[Path]:
    """Folders of files without an image, beside others whose classes all lie within: no classes.

    In an archive of birds those are attributes/ and parts/ beside images/.
    """
    images = {path: leaves(path) for path in outer}
    if any(path in inside for path, inside in images.items()) or not any(images.values()):
        return []
    return [path for path, inside in images.items() if not inside and any(walk(path))]


def _named(outer: Sequence[Path], level: str, base: Path) -> dict[str, list[Path]]:
    """Class name -> folders. Inner ones of one name are one class, or get the outer one's name."""
    if level not in INNER:
        return {path.name: [path] for path in outer}
    inner = [leaf for path in outer for leaf in leaves(path) or [path]]
    alike: dict[str, list[Path]] = {}
    for leaf in inner:
        alike.setdefault(look_alike(leaf.name), []).append(leaf)
    if level == "merged":
        return {same[0].name: same for same in alike.values()}
    return {
        leaf.name
        if len(alike[look_alike(leaf.name)]) == 1
        else leaf.relative_to(base).as_posix().replace("/", " "): [leaf]
        for leaf in inner
    }


def _is_side_folder(folder: Path, base: Path) -> bool:
    return folder.name.casefold() in SIDE_FOLDERS and not any(
        takes_part(path, base) for path in walk(folder)
    )
