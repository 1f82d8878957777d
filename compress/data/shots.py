"""Which images are used: the shots, a stratified hold-out, a stratified part of a test split.

All three rest on a seeded order of each class's images that depends only on the seed, the class's
name and the images' keys. The k-shot sets of one seed are therefore nested (the 4 shots contain the
2, "all" contains both), and another class in the dataset changes no draw.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Literal, TypeVar

import numpy as np

from compress.data.split import Source, Split
from compress.engine.errors import DataError
from compress.engine.seeds import numpy_rng
from runtime.files.paths import line

T = TypeVar("T")
WINDOW = 64  # images decoded at once


def class_orders(split: Split, names: Sequence[str], seed: int, purpose: str) -> list[np.ndarray]:
    """The seeded order of each class's images: K arrays of indices into the split, int64 (N_k,)."""
    orders = []
    for label, name in enumerate(names):
        members = np.flatnonzero(split.labels == label).tolist()
        # by key: file systems and archives list images in different orders
        by_key = np.asarray(sorted(members, key=split.keys.__getitem__), np.int64)
        orders.append(by_key[numpy_rng(seed, purpose, name).permutation(len(by_key))])
    return orders


def draw_shots(
    split: Split,
    names: Sequence[str],
    shots: int | Literal["all"],
    seed: int,
    read: Callable[[Sequence[int]], list[T | None]],
    why: Callable[[Sequence[int]], str] = lambda indices: "",
    empty: Collection[str] = (),
) -> Iterator[tuple[int, int, T]]:
    """Draws readable images class by class: (label, index in the split, what ``read`` gave).

    Args:
        shots: how many of each class; "all": every image, so that classes may differ in size.
        read: reads the images at indices; the next one in the class's order replaces each None.
        why: says why ``read`` gave None for some indices, after the numbers in the message.
        empty: classes that may have no image at all.

    Raises:
        DataError: too few readable images; counted before anything is read, where possible.
    """
    counts = require_shots(split, names, shots, empty)
    least = 1 if shots == "all" else shots
    orders = class_orders(split, names, seed, "shots")
    for label, (name, order) in enumerate(zip(names, orders, strict=True)):
        goal = len(order) if shots == "all" else shots
        taken = position = 0
        while taken < goal and position < len(order):
            indices = order[position : position + min(goal - taken, WINDOW)].tolist()
            position += len(indices)
            for index, value in zip(indices, read(indices), strict=True):
                if value is not None:
                    taken += 1
                    yield label, index, value
        if taken < least and (len(order) or name not in empty):
            got = f"{taken} readable of {len(order)} images{why(order.tolist())}"
            raise _too_few(name, got, least, counts)


def require_shots(
    split: Split,
    names: Sequence[str],
    shots: int | Literal["all"],
    empty: Collection[str] = (),
    held_out: Sequence[int] = (),
) -> list[int]:
    """The images of each class; DataError if one has fewer than ``shots``, or none. Reads none.

    Args:
        empty: classes that may have no image at all.
        held_out: images of each class that were taken away for testing, if any were.
    """
    least = 1 if shots == "all" else shots
    counts: list[int] = np.bincount(split.labels, minlength=len(names)).tolist()
    for label, (name, count) in enumerate(zip(names, counts, strict=True)):
        if count < least and (count or name not in empty):
            taken = held_out[label] if held_out else 0
            there = f"{count + taken} images, {taken} of them held out for testing"
            raise _too_few(name, there if taken else f"{count} images", least, counts)
    return counts


def _too_few(name: str, got: str, shots: int, counts: Sequence[int]) -> DataError:
    what = f"class {name!r} has too few images for {shots} shot{'' if shots == 1 else 's'}"
    most = min(filter(None, counts), default=0)
    remedy = f"add images or lower --shots (the smallest class has {most} for training)"
    return DataError(what, got=got, expected=f"at least {shots} for training", remedy=remedy)


def no_image_at_all(source: Source) -> DataError:
    """The error for classes of a folder that have no training image, where none is generated."""
    listed = [f"{name} ({there})" for name, there in source.empty.items()]
    return DataError(
        "a class has no training image, and none is generated",
        got=line(", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")),
        expected="an image, a name that ImageNet has (for networks trained on it), or a teacher "
        "and a generator that know the name",
        remedy="add images or remove the folder; name it as ImageNet does (classes.yaml: "
        "synonyms); or let images be generated from the name, e.g. with --teacher ViT-L-14/openai "
        "--generator kandinsky-2.2",
    )


def hold_out(split: Split, names: Sequence[str], fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Train and test indices (seed 0): an image of every class on each side, where it has two.

    A class with a single image is for training only.
    """
    train = [np.zeros(0, np.int64)]
    test = [np.zeros(0, np.int64)]
    for order in class_orders(split, names, 0, "hold-out"):
        count = min(max(1, round(fraction * len(order))), max(len(order) - 1, 0))
        test.append(order[:count])
        train.append(order[count:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def stratified_part(split: Split, names: Sequence[str], limit: int) -> np.ndarray:
    """Indices of ``limit`` images, each class in its share; the parts are nested."""
    orders = [order for order in class_orders(split, names, 0, "part") if len(order)]
    if not orders:
        return np.zeros(0, np.int64)
    ranks = np.concatenate([(np.arange(len(order)) + 0.5) / len(order) for order in orders])
    first = np.argsort(ranks, kind="stable")[:limit]
    return np.sort(np.concatenate(orders)[first])
