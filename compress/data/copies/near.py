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
MOST_UNLIKE = 0.02  # see _direction; of copies saved at JPEG quality 10 at most 0.01
LEAST_CONTRAST = 6.0  # standard deviation of the gray levels


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
    """Near pairs that join every chain: of n images in one chain n - 1 pairs in each band."""
    kept = [index for index, look in enumerate(looks) if not look.is_flat]
    if not kept:
        return
    hashes = np.stack([np.frombuffer(looks[index].bits, np.uint16) for index in kept], axis=1)
    pictures = np.stack([_direction(looks[index]) for index in kept])
    bits_of = np.unpackbits(np.arange(1 << 16, dtype=">u2").view(np.uint8)).reshape(-1, 16)
    bit_count = bits_of.sum(axis=1, dtype=np.uint8)

    def near(one: int, others: NDArray[np.intp]) -> NDArray[np.bool_]:
        differ = bit_count.take(hashes.take(others, axis=1) ^ hashes[:, one, None])
        is_near = differ.sum(axis=0, dtype=np.uint8) <= MOST_BITS  # of 128
        alike = pictures[others[is_near]] @ pictures[one]
        is_near[is_near] = 1 - alike <= MOST_UNLIKE
        return is_near

    for band in range(BANDS):
        order = np.argsort(hashes[band], kind="stable")
        values = hashes[band, order]
        edges = np.flatnonzero(np.r_[True, values[1:] != values[:-1], True])
        for start in np.flatnonzero(np.diff(edges) > 1):
            others = order[edges[start] : edges[start + 1]]
            while len(others) > 1:
                chain, others = [int(others[0])], others[1:]
                while chain and len(others):
                    one = chain.pop()
                    is_near = near(one, others)
                    chain += others[is_near].tolist()
                    yield from ((kept[one], kept[other]) for other in others[is_near])
                    others = others[~is_near]


def _direction(look: Look) -> NDArray[np.float32]:
    """A picture without its brightness: less its mean in each channel, of length 1, (D,).

    Of two pictures a and b, 1 - <a, b> is the share of one that the other does not explain.
    """
    picture = (look.small.astype(np.float64) - look.small.mean(axis=(0, 1))).ravel()
    return (picture / max(float(np.linalg.norm(picture)), 1.0)).astype(np.float32)
