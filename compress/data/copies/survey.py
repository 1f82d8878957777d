"""Looks over all images of a folder for copies, before any is used.

An image that is in training and test alike makes every accuracy too high. Equal ones are refused,
since a person can say which one is wrong. Of nearly equal ones, e.g. photos that were saved twice,
the training image is not used. In a folder without a test split both are: the split is ours.

Photos of one scene, e.g. of a camera that does not move, are nearly equal and no copies: they are
used, and that is said. Only images that are equal count as copies there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from compress.data.copies.near import Look, look_of, near_groups
from compress.data.images.reading import digest_of, reason_of
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
# A group of this many near images is a scene where such groups hold most of a class: of one photo
# people have fewer copies, of a camera that does not move they have many frames.
LEAST_OF_SCENE = 6

Place = tuple[str, int]  # split, index in it
Group = list[Place]


@dataclass(frozen=True)
class Looks:
    """What all images of a folder look like, by key.

    Attributes:
        skipped: key -> reason of images that cannot be read, be they used or not.
        repaired: key -> what was wrong with images that were mended.
    """

    looks: Mapping[str, Look] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    repaired: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None


@dataclass(frozen=True)
class Survey:
    """Groups of copies, and the training images that are not used.

    Attributes:
        groups: images that are nearly equal, but no scenes.
        left_out: indices into the training split.
        digests: of the pixels of every image that could equal another one, used or not.
        notes: what a person should know of both.
    """

    groups: Sequence[Group] = ()
    left_out: frozenset[int] = frozenset()
    digests: Mapping[Place, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def look_over(
    source: Source, tests: Mapping[str, Split], threads: ThreadPoolExecutor, progress: Progress
) -> Looks:
    """Looks at every image of a folder; at nothing of another source.

    Args:
        tests: the test sets that are used, by name.
    """
    splits = {"train": source.train, **tests}
    total = sum(map(len, splits.values()))
    if source.facts is None or not total:
        return Looks()
    if total > MOST_IMAGES:
        return Looks(note=f"nearly equal images are not looked for among {total:,} images")
    mends_all = source.facts.held_out and len(source.train) > 0  # each could be for training
    places = _places(splits)
    looks: dict[str, Look] = {}
    skipped: dict[str, str] = {}
    repaired: dict[str, str] = {}

    def see(place: Place) -> tuple[Look | None, str | None]:
        name, index = place
        return _look(splits[name], index, mends_all or name == "train")

    with progress.task("look for copies", total=total, unit="image") as task:
        for place, (look, matter) in zip(places, threads.map(see, places), strict=True):
            task.advance()
            key = _key(place, splits)
            if matter is not None:
                (skipped if look is None else repaired)[key] = matter
            if look is not None:
                looks[key] = look
    return Looks(looks, skipped, repaired)


def survey(
    source: Source,
    tests: Mapping[str, Split],
    seen: Looks,
    shown: Geometry,
    allow: bool,
    threads: ThreadPoolExecutor,
) -> Survey:
    """Finds the copies among the images of a folder.

    Args:
        tests: the test sets that are used, by name.
        shown: in which geometry images are equal.
        allow: whether images may be in training and test alike.

    Raises: DataError: equal images in train/ and test/, and ``allow`` is false.
    """
    if source.facts is None:
        return Survey()
    splits = {"train": source.train, **tests}
    kept = [place for place in _places(splits) if _key(place, splits) in seen.looks]
    looks = [seen.looks[_key(place, splits)] for place in kept]
    near = [[kept[index] for index in group] for group in near_groups(looks)]
    scenes = _scenes(near, kept, splits)
    groups = [group for group in near if group not in scenes]
    notes = [seen.note, _scene_note(scenes, splits)]
    spanning = [] if allow else list(filter(_spans, groups))
    equal = [] if allow else list(filter(_spans, scenes))
    flat = [place for place, look in zip(kept, looks, strict=True) if look.is_flat]
    if not source.facts.held_out and not allow:
        equal = [*spanning, *equal, *filter(_spans, [flat])]
    digests = _digests(
        [place for group in (*near, flat) for place in group], splits, shown, threads
    )
    pairs = _equal_pairs(equal, digests)
    if pairs and not source.facts.held_out:
        named = (f"{_key(one, splits)} = {_key(other, splits)}" for one, other in pairs)
        raise images_in_both(list(named))
    unused = [*spanning, *map(list, pairs)]
    left_out = frozenset(index for group in unused for name, index in group if name == "train")
    notes.append(_note(unused, splits, left_out))
    return Survey(groups, left_out, digests, tuple(filter(None, notes)))


def _places(splits: Mapping[str, Split]) -> list[Place]:
    return [(name, index) for name, split in splits.items() for index in range(len(split))]


def _look(split: Split, index: int, mends: bool) -> tuple[Look | None, str | None]:
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
        whole, repaired = split.read(index) if mends else (split.image(index), None)
        return look_of(whole), repaired
    except ImageError as error:
        return None, reason_of(error, where)


def _spans(group: Group) -> bool:
    """Whether some images are for training and some for testing."""
    return len({name == "train" for name, _ in group}) > 1


def _scenes(
    groups: Sequence[Group], places: Iterable[Place], splits: Mapping[str, Split]
) -> list[Group]:
    """The groups of near images that are no copies but photos of one scene."""

    def label(place: Place) -> int:
        return int(splits[place[0]].labels[place[1]])

    large = [group for group in groups if len(group) >= LEAST_OF_SCENE]
    if not large:
        return []
    total = Counter(map(label, places))
    inside = Counter(label(place) for group in large for place in group)
    mostly = {one for one, count in inside.items() if 2 * count > total[one]}
    return [group for group in large if not mostly.isdisjoint(map(label, group))]


def _digests(
    places: Sequence[Place],
    splits: Mapping[str, Split],
    shown: Geometry,
    threads: ThreadPoolExecutor,
) -> dict[Place, bytes]:
    """The digests of the images that can be read."""
    found = threads.map(lambda place: _digest(splits[place[0]], place[1], shown), places)
    return {place: one for place, one in zip(places, found, strict=True) if one is not None}


def _equal_pairs(
    groups: Sequence[Group], digests: Mapping[Place, bytes]
) -> list[tuple[Place, Place]]:
    """Each training image that equals a test image of its group, and that one."""
    pairs = []
    for group in groups:
        read = [place for place in group if place in digests]
        tested = {digests[place]: place for place in read if place[0] != "train"}
        pairs += [
            (place, tested[digests[place]])
            for place in read
            if place[0] == "train" and digests[place] in tested
        ]
    return pairs


def images_in_both(pairs: Sequence[str]) -> DataError:
    """The error for equal images in training and test; ``pairs``: "train/a.jpg = test/b.jpg"."""
    more = ", ..." if len(pairs) > EXAMPLES else ""
    count = "1 image" if len(pairs) == 1 else f"{len(pairs)} images"
    doubted = any(_class_of(one) != _class_of(other) for one, other in map(_sides, pairs))
    wrong = "; where their classes differ, one of them is wrong" if doubted else ""
    return DataError(
        f"the same image is in training and test, so that accuracy is overstated ({count})",
        got=line(", ".join(pairs[:EXAMPLES]) + more),
        remedy=f"remove one of each{wrong}, or {ALLOW}",
    )


def _sides(pair: str) -> tuple[str, str]:
    one, _, other = pair.partition(" = ")
    return one, other


def _class_of(place: str) -> str:
    """The folder of an image "train/<class>/name", or "" for one that lies in none."""
    return place.rpartition("/")[0].rpartition("/")[2]


def _digest(split: Split, index: int, shown: Geometry) -> bytes | None:
    try:
        return digest_of(np.ascontiguousarray(geometry(split.read(index)[0], shown)))
    except ImageError:
        return None


def _note(
    spanning: Sequence[Group], splits: Mapping[str, Split], left_out: frozenset[int]
) -> str | None:
    if not left_out:
        return None
    examples = (" ~ ".join(_key(place, splits) for place in group) for group in spanning[:3])
    what = "1 training image is" if len(left_out) == 1 else f"{len(left_out)} training images are"
    return line(
        f"{what} not used, since test images are nearly the same: "
        f"{'; '.join(examples)}; {ALLOW} uses {'it' if len(left_out) == 1 else 'them'}"
    )


def _scene_note(scenes: Sequence[Group], splits: Mapping[str, Split]) -> str | None:
    if not scenes:
        return None
    count = sum(map(len, scenes))
    examples = "; ".join(
        " ~ ".join(_key(place, splits) for place in (group[0], group[-1])) for group in scenes[:3]
    )
    what = "one scene" if len(scenes) == 1 else f"{len(scenes)} scenes"
    return line(
        f"{count} images are nearly the same, as photos of {what} by a camera that does not move "
        f"are, e.g. {examples}: they are used, and accuracy says little about any other scene"
    )


def _key(place: Place, splits: Mapping[str, Split]) -> str:
    return splits[place[0]].keys[place[1]]
