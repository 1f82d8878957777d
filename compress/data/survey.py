"""Looks over all images of a folder for copies, before any is used.

An image that is in training and test alike makes every accuracy too high. Equal ones are refused,
since a person can say which one is wrong. Of nearly equal ones, e.g. photos that were saved twice,
the training image is not used. In a folder without a test split both are: the split is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from compress.data.duplicates import digest_of
from compress.data.near import Look, look_of, near_groups
from compress.data.reading import reason_of
from compress.data.split import Source, Split
from compress.engine.errors import DataError
from compress.engine.progress import Progress
from runtime.errors import ImageError
from runtime.files.paths import line
from runtime.preprocess import Geometry, decode, geometry
from runtime.preprocess.decode import COMMON_FORMATS

MOST_IMAGES = 20_000  # beyond, only equal images among those that are read are found
EDGE = 64  # pixels that are decoded at least, where a format can skip the rest
ALLOW = "--set data.duplicates=allow"
EXAMPLES = 4

Group = list[tuple[str, int]]  # split, index in it


@dataclass(frozen=True)
class Survey:
    """Groups of images that are nearly equal, and the training images that are not used.

    Attributes:
        left_out: indices into the training split.
        skipped: key -> reason of images that cannot be read, be they used or not.
        repaired: key -> what was wrong with images that were mended.
    """

    groups: Sequence[Group] = ()
    left_out: frozenset[int] = frozenset()
    note: str | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    repaired: Mapping[str, str] = field(default_factory=dict)


def survey(
    source: Source,
    tests: Mapping[str, Split],
    seen: Geometry,
    allow: bool,
    threads: ThreadPoolExecutor,
    progress: Progress,
) -> Survey:
    """Looks over a folder; nothing of another source.

    Args:
        tests: the test sets that are used, by name.
        seen: in which geometry images are equal.
        allow: whether images may be in training and test alike.

    Raises: DataError: equal images in train/ and test/, and ``allow`` is false.
    """
    splits = {"train": source.train, **tests}
    total = sum(map(len, splits.values()))
    if source.facts is None or not total:
        return Survey()
    if total > MOST_IMAGES:
        return Survey(note=f"nearly equal images are not looked for among {total:,} images")
    places = [(name, index) for name, split in splits.items() for index in range(len(split))]
    looks: list[Look] = []
    kept: list[tuple[str, int]] = []
    skipped: dict[str, str] = {}
    repaired: dict[str, str] = {}
    with progress.task("look for copies", total=total, unit="image") as task:
        found = threads.map(lambda place: _look(splits[place[0]], place[1]), places)
        for place, (look, matter) in zip(places, found, strict=True):
            task.advance()
            if matter is not None:
                (skipped if look is None else repaired)[_key(place, splits)] = matter
            if look is not None:
                looks.append(look)
                kept.append(place)
    groups = [[kept[index] for index in group] for group in near_groups(looks)]
    spanning = [group for group in groups if len({name == "train" for name, _ in group}) > 1]
    if allow:
        spanning = []
    elif not source.facts.held_out:
        _refuse_equal(spanning, splits, seen)
    left_out = frozenset(index for group in spanning for name, index in group if name == "train")
    return Survey(groups, left_out, _note(spanning, splits, left_out), skipped, repaired)


def _look(split: Split, index: int) -> tuple[Look | None, str | None]:
    """The look of an image, decoded small where the format can, and what is the matter with it."""
    where = split.load(index)
    try:
        if isinstance(where, Path):
            with Image.open(where, formats=COMMON_FORMATS) as image:
                image.draft("RGB", (EDGE, EDGE))
                return look_of(decode(image, max_pixels=split.max_pixels)), None
    except Exception:  # another format, or damaged: Pillow's readers raise anything
        pass
    try:
        whole, repaired = split.read(index)
        return look_of(whole), repaired
    except ImageError as error:
        return None, reason_of(error, where)


def _refuse_equal(groups: Sequence[Group], splits: Mapping[str, Split], seen: Geometry) -> None:
    pairs = []
    for group in groups:
        digests = {place: _digest(splits[place[0]], place[1], seen) for place in group}
        tested = {digest: place for place, digest in digests.items() if place[0] != "train"}
        pairs += [
            f"{_key(place, splits)} = {_key(tested[digest], splits)}"
            for place, digest in digests.items()
            if place[0] == "train" and digest in tested and digest is not None
        ]
    if pairs:
        raise images_in_both(pairs)


def images_in_both(pairs: Sequence[str]) -> DataError:
    """The error for equal images in training and test; ``pairs``: "train/a.jpg = test/b.jpg"."""
    more = ", ..." if len(pairs) > EXAMPLES else ""
    count = "1 image" if len(pairs) == 1 else f"{len(pairs)} images"
    return DataError(
        f"the same image is in training and test, so that accuracy is overstated ({count})",
        got=line(", ".join(pairs[:EXAMPLES]) + more),
        remedy=f"remove one of each, or {ALLOW}",
    )


def _digest(split: Split, index: int, seen: Geometry) -> bytes | None:
    try:
        return digest_of(np.ascontiguousarray(geometry(split.image(index), seen)))
    except ImageError:
        return None


def _note(
    spanning: Sequence[Group], splits: Mapping[str, Split], left_out: frozenset[int]
) -> str | None:
    if not left_out:
        return None
    examples = (" ~ ".join(_key(place, splits) for place in group) for group in spanning[:3])
    return line(
        f"{len(left_out)} training images are not used, since test images are nearly the same: "
        f"{'; '.join(examples)}; {ALLOW} uses them"
    )


def _key(place: tuple[str, int], splits: Mapping[str, Split]) -> str:
    return splits[place[0]].keys[place[1]]
