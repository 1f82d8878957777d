"""A held-out test split of images that can be read: what cannot goes to the training images.

There it is mended or skipped, and the next image of its class, in the order of ``hold_out``, is for
testing, unless the training needs it more. A split of a person's own stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np

from compress.data.shots import class_orders
from compress.data.split import Split, joined


def readable_hold_out(
    train: Split,
    test: Split,
    names: Sequence[str],
    shots: int | Literal["all"],
    damaged: Collection[str],
    skipped: Collection[str],
) -> tuple[Split, Split]:
    """Training and test images; a class with a damaged image is tested on what its shots spare.

    Args:
        damaged: keys of images that a device cannot read.
        skipped: those of them that cannot be mended either.
    """
    if not damaged:
        return train, test
    least = 1 if shots == "all" else shots
    whole = joined(test, train)
    tested: list[int] = []
    for order in class_orders(whole, names, 0, "hold-out"):
        members = sorted(order.tolist(), key=lambda row: row >= len(test))  # of the test ones first
        sound = [row for row in members if whole.keys[row] not in damaged]
        usable = sum(whole.keys[row] not in skipped for row in members)
        held = sum(row < len(test) for row in members)
        spare = max(usable - least, 0) if len(sound) < len(members) else held
        tested += sound[: min(held, spare)]
    tested.sort(key=lambda row: (whole.labels[row], row))
    rest = np.setdiff1d(np.arange(len(whole)), tested)
    if not len(train):  # no training image is used at all
        rest = rest[:0]
    return whole.subset(rest), whole.subset(tested)
