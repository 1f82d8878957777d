"""Which images are used: k shots of every class or all, a stratified hold-out, a stratified part of
a test split.

All three rest on one thing, a seeded order of each class's images that depends on nothing but the
seed, the class's name and the images' keys. The k-shot sets of one seed are therefore nested (the 4
shots contain the 2, "all" contains every one of them), and another class in the dataset changes no
draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

import numpy as np

from compress.data.split import Split
from compress.engine.errors import DataError
from compress.engine.seeds import numpy_rng

T = TypeVar("T")
WINDOW = 64  # images asked for at once


def class_orders(split: Split, names: Sequence[str], seed: int, purpose: str) -> list[np.ndarray]:
    """The seeded order of each class's images, as indices into the split: K arrays of int64
    (N_k,).
    """
    orders = []
    for label, name in enumerate(names):
        members = np.flatnonzero(split.labels == label)
        by_key = sorted(
            members.tolist(), key=split.key
        )  # however the file system or archive lists them
        orders.append(
            np.asarray(by_key, np.int64)[numpy_rng(seed, purpose, name).permutation(len(by_key))]
        )
    return orders


def draw_shots(
    split: Split,
    names: Sequence[str],
    shots: int | Literal["all"],
    seed: int,
    read: Callable[[Sequence[int]], list[T | None]],
) -> Iterator[tuple[int, int, T]]:
    """Draws readable images of every class, class by class: (label, index in the split, what
    ``read`` gave).

    Args:
        shots: how many of each class; "all" gives every one there is, so that classes may differ in
            size.
        read: reads the images named by indices; None stands for one that cannot be read, and the
            next one in the class's order takes its place.

    Raises:
        DataError: a class has fewer readable images than shots, or none. Counted before anything is
            read, where possible.
    """
    orders = class_orders(split, names, seed, "shots")
    least = 1 if shots == "all" else shots
    for name, order in zip(names, orders, strict=True):
        if len(order) < least:
            raise _too_few(name, f"{len(order)} images", least, orders)
    for label, (name, order) in enumerate(zip(names, orders, strict=True)):
        taken, position, wanted = 0, 0, len(order) if shots == "all" else shots
        while taken < wanted and position < len(order):
            indices = order[position : position + min(wanted - taken, WINDOW)].tolist()
            position += len(indices)
            for index, value in zip(indices, read(indices), strict=True):
                if value is not None:
                    taken += 1
                    yield label, index, value
        if taken < least:
            raise _too_few(name, f"{taken} readable of {len(order)} images", least, orders)


def _too_few(name: str, got: str, shots: int, orders: list[np.ndarray]) -> DataError:
    most = min(len(order) for order in orders)
    return DataError(
        f"class {name!r} has too few images for {shots} shot{'' if shots == 1 else 's'}",
        got=got,
        expected=f"at least {shots}",
        remedy=f"add images or lower --shots (the smallest class has {most})",
    )


def hold_out(
    split: Split, names: Sequence[str], fraction: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Splits every class into train and test indices; each side gets at least one image of every
    class.

    Raises:
        DataError: a class with a single image cannot be on both sides.
    """
    train, test = [], []
    for name, order in zip(names, class_orders(split, names, seed, "hold-out"), strict=True):
        if len(order) < 2:
            raise DataError(
                f"class {name!r} has too few images to be split into train and test",
                got=len(order),
                expected="at least 2",
                remedy="add images or give train/ and test/ folders",
            )
        count = min(max(1, round(fraction * len(order))), len(order) - 1)
        test.append(order[:count])
        train.append(order[count:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(test))


def stratified_part(split: Split, names: Sequence[str], limit: int, seed: int = 0) -> np.ndarray:
    """Indices of ``limit`` images in which every class keeps its share; the parts of one seed are
    nested.
    """
    orders = [order for order in class_orders(split, names, seed, "part") if len(order)]
    if not orders:
        return np.zeros(0, np.int64)
    ranks = np.concatenate([(np.arange(len(order)) + 0.5) / len(order) for order in orders])
    chosen = np.argsort(ranks, kind="stable")[:limit]
    return np.sort(np.concatenate(orders)[chosen])
