"""How a folder of images is laid out: its splits, its class folders, what stands beside them.

DIR/train/<class>/...  DIR/test/<class>/...    train and test under any of their usual names
DIR/<class>/...                                a part is held out for testing
DIR/<group>/<class>/...                        nested: the inner folders are the classes, where
                                               nothing speaks against it (data.class_folders)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from compress.data.class_names import class_name, look_alike
from compress.data.folders.walk import is_folder, key_of, takes_part, visible, walk
from compress.data.folders.words import WORDNET
from compress.engine.errors import DataError
from runtime.files.paths import line

TRAIN_NAMES = ("train", "training", "train_set", "training_set", "trainset")
TEST_NAMES = (  # the first present is used
    *("test", "testing", "test_set", "testing_set", "testset"),
    *("val", "valid", "validation", "val_set", "valid_set", "validation_set", "dev", "eval"),
)
# folders beside the classes that are none, if they hold no image: labelers' and trainers' own
SIDE_FOLDERS = frozenset(
    ("annotations", "annotation", "labels", "label", "jsons", "json", "xmls", "xml", "captions")
    + ("metadata", "meta", "checkpoints", "logs", "runs", "thumbnails", "_thumbnails", "imagesets")
)
# inner folders that are parts of a class, as digits and dates are
PARTS = frozenset(("images", "image", "imgs", "img", "photos", "pictures", "pics", "jpg", "jpeg"))
PARTS |= frozenset(("png", "raw", "crops", "originals", "good", "bad", "other", "misc"))
NUMBERED = re.compile(r"[\W\d_]+|\w{0,9}?[-_ ]?\d+")  # 2024-05-01, 3, batch_2, IMG0001, session 4

ClassFiles = Mapping[str, tuple[Path, ...]]  # name of a folder or label -> its images


def plain(name: str) -> str:
    """A name of a split or of a column as it is compared: ``"Test Set "`` -> ``"test_set"``."""
    return re.sub(r"[\s_-]+", "_", class_name(name).casefold()).strip("_")


def split_kind(name: str) -> Literal["train", "test"] | None:
    """Which split a folder or a cell names, if any."""
    known = plain(name)
    return "train" if known in TRAIN_NAMES else "test" if known in TEST_NAMES else None


@dataclass
class Found:
    """The images of a folder by split and class, and what was noticed on the way.

    Attributes:
        train: what shots are drawn from; without ``test`` a part of it is held out.
        splits: all splits by their own names, also those that are not used.
        left_out: files that are no images of a class, folders that are no class.
        skipped: ``key`` and ``reason`` of images that are named and not there.
        empty: folder -> what lies in it, of classes without images.
    """

    train: ClassFiles = field(default_factory=dict)
    test: ClassFiles | None = None
    test_name: str = ""
    splits: dict[str, ClassFiles] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
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
            self.test_name, *unused = sorted(tests, key=lambda name: TEST_NAMES.index(plain(name)))
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

    Raises: DataError: no class folders, or a single one.
    """
    found = Found()
    inside = class_dirs(root)
    splits = {path.name: path for path in inside if split_kind(path.name) and class_dirs(path)}
    kinds = {split_kind(name) for name in splits}
    only_splits = all(split_kind(path.name) for path in inside)
    if not splits and {split_kind(path.name) for path in inside} == {"train", "test"}:
        names = " and ".join(f"{path.name}/" for path in inside)
        raise DataError(
            f"{names} of {root} have no class folders",
            expected="train/<class>/ and test/<class>/, or a labels.csv",
            remedy="sort the images into a folder a class, or write a table of file_name,label",
        )
    if not splits or not (only_splits or kinds == {"train", "test"}):
        splits = {"": root}  # "train" is a class beside "bus" and "car"
    else:
        found.left_out += [path for path in inside if path.name not in splits]
    found.take(read_splits(splits, level, found, root))
    return found


def read_splits(
    splits: Mapping[str, Path], level: str, found: Found, root: Path
) -> dict[str, ClassFiles]:
    """The images of the class folders of every split; one rule for all says which are those."""
    if level == "auto":
        level = _level([path for base in splits.values() for path in class_dirs(base)], found, root)
    return {name: _of_split(base, level, found) for name, base in splits.items()}


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


def _of_split(base: Path, level: str, found: Found) -> dict[str, tuple[Path, ...]]:
    """The images of every class folder; empty ones too."""
    outer = class_dirs(base)
    classes = set(outer)
    beside = [path for entry in visible(base) if (path := Path(entry.path)) not in classes]
    if not outer:
        loose = len([path for path in beside if takes_part(path, base)])
        raise DataError(
            f"{base} has no class folders",
            got=f"{loose} files beside each other" if loose else "an empty folder",
            expected="one folder of images a class, train/ and test/ with those, or a labels.csv",
        )
    folders = _named(outer, level, base)
    found.left_out += [path for path in beside if path.is_dir() or takes_part(path, base)]
    files: dict[str, tuple[Path, ...]] = {}
    for name, folder in folders.items():
        listed = [path for path in walk(folder) if level != "leaf" or path.parent == folder]
        images = tuple(path for path in listed if takes_part(path, base))
        files[name] = images
        if not images:
            example = f"{len(listed)} files, none an image, e.g. {listed[0].name}" if listed else ""
            found.empty.setdefault(name, line(example or "an empty folder"))
        taken = set(images)
        found.left_out += [path for path in listed if path not in taken]
    return files


def _named(outer: Sequence[Path], level: str, base: Path) -> dict[str, Path]:
    """Class name -> folder; inner folders of one name get that of the outer one before theirs."""
    if level != "leaf":
        return {path.name: path for path in outer}
    leaves = [leaf for path in outer for leaf in _leaves(path) or [path]]
    names = [look_alike(leaf.name) for leaf in leaves]
    return {
        leaf.name
        if names.count(name) == 1
        else leaf.relative_to(base).as_posix().replace("/", " "): leaf
        for leaf, name in zip(leaves, names, strict=True)
    }


def _level(outer: Sequence[Path], found: Found, root: Path) -> str:
    """Whether the outer or the innermost folders are the classes; a note if both could be."""
    pairs = [(path, leaf) for path in outer for leaf in _leaves(path)]
    if not pairs or any(path == leaf for path, leaf in pairs):
        return "top"
    names: dict[str, set[str]] = {}  # of an inner folder -> outer folders
    inside: dict[str, set[str]] = {}  # of an outer folder -> inner folders
    for path, leaf in pairs:
        names.setdefault(look_alike(leaf.name), set()).add(look_alike(path.name))
        inside.setdefault(look_alike(path.name), set()).add(look_alike(leaf.name))
    each_in_one = all(len(groups) == 1 for groups in names.values())
    any_group = any(len(below) > 1 for below in inside.values())
    if each_in_one and any_group and not any(_is_part(leaf, path) for path, leaf in pairs):
        groups = ", ".join(dict.fromkeys(path.name for path in outer))
        found.notes.append(
            line(
                f"nested folders: the {len(names)} innermost ones are the classes, {groups} are "
                "groups; --set data.class_folders=top makes those the classes"
            )
        )
        return "leaf"
    found.notes.append(
        line(
            f"nested folders: the {len({path.name for path in outer})} outer ones are the classes; "
            f"--set data.class_folders=leaf makes {key_of(pairs[0][1], root)} one"
        )
    )
    return "top"


def _leaves(folder: Path) -> list[Path]:
    """The folders that hold images themselves, at or below a folder."""
    return sorted({path.parent for path in walk(folder) if takes_part(path, folder)})


def _is_part(inner: Path, outer: Path) -> bool:
    """Whether a folder's name says that it is a part of a class: a date, a batch, its own name."""
    name = inner.name.casefold()
    own = look_alike(outer.name) in look_alike(inner.name)
    if own or name in PARTS or split_kind(name) is not None:
        return True
    return NUMBERED.fullmatch(name) is not None and WORDNET.fullmatch(name) is None


def _is_side_folder(folder: Path, base: Path) -> bool:
    return folder.name.casefold() in SIDE_FOLDERS and not any(
        takes_part(path, base) for path in walk(folder)
    )
