"""Nearly equal images: copies that were saved again, made smaller or a little brighter.

Two images are near if their difference hashes (dHash: Krawetz, "Kind of Like That", 2013; rows and
columns) differ in few bits and their small color pictures in few levels. The hash finds candidates
among many, the picture decides. An image without contrast is near to none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EDGE = 8  # gradients of a row and of a column; 2 * EDGE * EDGE bits
SMALL = 16  # edge of the color picture
BANDS = 8  # of 16 bits: hashes that differ in fewer bits than bands agree in one of them
MOST_BITS = BANDS - 1
MOST_UNLIKE = 0.02  # see _unlike; of copies saved at JPEG quality 10 at most 0.01
LEAST_CONTRAST = 6.0  # standard deviation of the gray levels
MOST_IN_BAND = 4096  # images that agree in a band and are compared


@dataclass(frozen=True)
class Look:
    """What an image looks like: 16 bytes of hash and a picture (SMALL, SMALL, 3)."""

    bits: bytes
    small: NDArray[np.uint8]
    is_flat: bool


def look_of(image: Image.Image) -> Look:
    """The look of an upright RGB image; its sides are made equal."""
    small = image.resize((SMALL, SMALL), Image.Resampling.BICUBIC)
    gray = image.convert("L").resize((EDGE + 1,) * 2, Image.Resampling.BICUBIC)
    levels = np.asarray(gray, np.int16)
    rows = levels[:EDGE, 1:] > levels[:EDGE, :-1]
    columns = levels[1:, :EDGE] > levels[:-1, :EDGE]
    bits = np.packbits(np.concatenate([rows.ravel(), columns.ravel()])).tobytes()
    return Look(bits, np.asarray(small, np.uint8), float(levels.std()) < LEAST_CONTRAST)


def near_groups(looks: Sequence[Look]) -> list[list[int]]:
    """Groups of two and more images that are near, by index; a chain of near images is one."""
    leader = list(range(len(looks)))

    def first(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for one, other in _near_pairs(looks):
        low, high = sorted((first(one), first(other)))
        leader[high] = low
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(len(looks)):
        groups[first(index)].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _near_pairs(looks: Sequence[Look]) -> Iterator[tuple[int, int]]:
    kept = [index for index, look in enumerate(looks) if not look.is_flat]
    if not kept:
        return
    hashes = np.stack([np.frombuffer(looks[index].bits, np.uint16) for index in kept])
    for band in range(BANDS):
        order = np.argsort(hashes[:, band], kind="stable")
        values = hashes[order, band]
        starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
        for members in np.split(order, starts[1:]):
            for place, one in enumerate(members[:MOST_IN_BAND]):
                others = members[place + 1 : MOST_IN_BAND]
                differ = np.unpackbits((hashes[others] ^ hashes[one]).view(np.uint8), axis=1)
                for other in others[differ.sum(axis=1) <= MOST_BITS]:
                    pair = kept[int(one)], kept[int(other)]
                    if _unlike(looks[pair[0]], looks[pair[1]]) <= MOST_UNLIKE:
                        yield pair


def _unlike(one: Look, other: Look) -> float:
    """The share of a picture that the other one does not explain, whatever its brightness.

    With a and b the pictures less their means in each channel: 1 - <a, b> / (|a| |b|).
    """
    a, b = (look.small.astype(np.float64) - look.small.mean(axis=(0, 1)) for look in (one, other))
    return float(1 - (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
