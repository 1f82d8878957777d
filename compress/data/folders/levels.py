"""Which folders of nested ones are the classes: the outer ones, or the innermost.

What the names speak for is taken, and a note names the setting for the other reading. Where the
same folders lie in every outer one, either could be, so that ``data.class_folders`` must say it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from compress.data.class_names import look_alike
from compress.data.folders.split_names import nearest_split, plain, split_kind
from compress.data.folders.walk import key_of, takes_part, walk
from compress.data.folders.words import WORDNET
from compress.engine.errors import DataError
from runtime.files.paths import line

#: top: the outer folders; leaf: the innermost ones, each a class; merged: those of one name are one
Level = Literal["top", "leaf", "merged"]
# inner folders that are parts of a class, as digits and dates are
PARTS = frozenset(("images", "image", "imgs", "img", "photos", "pictures", "pics", "jpg", "jpeg"))
PARTS |= frozenset(("png", "raw", "crops", "originals", "good", "bad", "other", "misc"))
NUMBERED = re.compile(r"[\W\d_]+|\w{0,9}?[-_ ]?\d+")  # 2024-05-01, 3, batch_2, IMG0001, session 4
NESTED = "nested folders"  # how a note on them starts
SHOWN = 8  # names in a message
SETTING = "--set data.class_folders"


def class_level(outer: Sequence[Path], root: Path) -> tuple[Level, list[str]]:
    """The level of the classes below the outer folders of all splits, and notes on the choice.

    Raises: DataError: the same folders lie in every outer one.
    """
    pairs = [(path, leaf) for path in outer for leaf in leaves(path)]
    inner = [(path, leaf) for path, leaf in pairs if path != leaf]
    if not inner:
        return "top", []
    below: dict[str, set[str]] = {}  # of an outer folder -> its inner folders
    for path, leaf in inner:
        below.setdefault(look_alike(path.name), set()).add(look_alike(leaf.name))
    names = set().union(*below.values())
    repeated = len(names) < sum(map(len, below.values()))
    part = next((leaf for path, leaf in inner if is_part(leaf, path)), None)
    mixed = next((path for path, leaf in pairs if path == leaf), None)
    groups = list(dict.fromkeys(path.name for path in outer))
    if part is None and mixed is None and not repeated and max(map(len, below.values())) > 1:
        around = _few(dict.fromkeys(path.name for path, _ in inner))
        note = f"{NESTED}: the {len(names)} innermost ones are the classes, {around} are "
        return "leaf", [line(f"{note}groups; {SETTING}=top makes those the classes")]
    if part is None and mixed is None and _all_share(list(below.values())):
        raise _of_either(groups, [leaf.name for _, leaf in inner], root)
    note = f"{NESTED}: the {len(groups)} outer ones are the classes"
    if part is not None:
        note += f", since {key_of(part, root)} is named as a part of one"
    elif mixed is not None:
        note += f", since {key_of(mixed, root)}/ holds images itself"
    first = key_of(inner[0][1], root)
    settings = f"{SETTING}=leaf makes {first} one"
    settings += f", {SETTING}=merged one of all folders of a name" if repeated else ""
    return "top", [line(f"{note}; {settings}")]


def leaves(folder: Path) -> list[Path]:
    """The folders that hold images themselves, at or below a folder."""
    return sorted({path.parent for path in walk(folder) if takes_part(path, folder)})


def is_part(inner: Path, outer: Path) -> bool:
    """Whether a folder's name says that it is a part of a class: a date, a batch, ``cat/cat_a``."""
    name, own = plain(inner.name), plain(outer.name)
    rest = re.sub(rf"(^|_){re.escape(own)}(?=_|$)", "", name, count=1).strip("_")
    if rest != name and len(rest) < 2:
        return True
    if rest in PARTS or split_kind(rest) is not None:
        return True
    return NUMBERED.fullmatch(rest) is not None and WORDNET.fullmatch(rest) is None


def _all_share(inside: Sequence[set[str]]) -> bool:
    """Whether every outer folder has two and more inner names that another one has, too."""

    counts = Counter(name for names in inside for name in names)
    return all(sum(counts[name] > 1 for name in names) > 1 for names in inside)


def _of_either(groups: Sequence[str], inner: Sequence[str], root: Path) -> DataError:
    names = _few(dict.fromkeys(inner))
    splits = [f"{name}/ as {near}/" for name in groups if (near := nearest_split(name))]
    rename = f"; or, if they are splits, name {_few(splits)}" if splits else ""
    return DataError(
        f"the classes of {root} can be the outer folders or those in them",
        got=line(f"{names} in {_few(groups)} alike"),
        remedy=line(
            f"{SETTING}=top: {_few(groups)} are the classes; {SETTING}=merged: {names} are, from "
            f"all of those{rename}"
        ),
    )


def _few(names: Sequence[str] | dict[str, None]) -> str:
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
