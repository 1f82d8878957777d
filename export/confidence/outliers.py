"""Images that show none of the classes, made here: the score of rejection is chosen on them.

    noise        every pixel drawn alone, uniform or normal, gray or colored
    flat         one color, or a slope between two: a lens cap, a wall, the sky
    patches      squares of different shots side by side: the right textures, no object
    dead_leaves  disks and polygons that cover one another: edges and spectra of photos

Photos of other things are not among them: what is chosen here is measured on such elsewhere.
Images of a class that is taken from the classifier are the fifth
kind: see ``export/confidence/choose.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.engine.seeds import derive, numpy_rng
from compress.generate.dead_leaves import dead_leaves

Pixels = NDArray[np.uint8]
Maker = Callable[[int, int, Pixels], Pixels]  # (seed, edge, images (N, H, W, 3)) -> (S, S, 3)
BLACK, WHITE = 12, 243  # beyond them a frame counts as black or white
SPLITS = (2, 4, 8)  # squares along an edge of a picture of patches


def noise(seed: int, edge: int, images: Pixels) -> Pixels:
    """Grain of any strength around any brightness, of one color or of three; some of it coarse."""
    rng = numpy_rng(seed, "noise")
    side = -(-edge // int(rng.choice([1, 1, 2, 4])))
    shape = (side, side, int(rng.choice([1, 3])))
    drawn = rng.normal(rng.uniform(60, 200), rng.uniform(25, 110), shape)
    grain = drawn if rng.random() < 0.5 else rng.uniform(0, 256, shape)
    whole = np.broadcast_to(grain.clip(0, 255).astype(np.uint8), (side, side, 3))
    return np.asarray(Image.fromarray(np.ascontiguousarray(whole)).resize((edge, edge), 0))


def flat(seed: int, edge: int, images: Pixels) -> Pixels:
    """Black, white, one color, or a slope from one to another, with a camera's grain."""
    rng = numpy_rng(seed, "flat")
    kind = rng.integers(4)
    low, high = ((0, BLACK), (WHITE, 256), (0, 256), (0, 256))[kind]
    first = rng.uniform(low, high, 3)
    last = rng.uniform(0, 256, 3) if kind == 3 else first
    slope = np.linspace(0, 1, edge)[:, None, None]
    whole = np.broadcast_to(first * (1 - slope) + last * slope, (edge, edge, 3))
    turned = np.rot90(whole, int(rng.integers(4)))
    return (turned + rng.normal(0, rng.uniform(0, 4), whole.shape)).clip(0, 255).astype(np.uint8)


def patches(seed: int, edge: int, images: Pixels) -> Pixels:
    """Squares cut from different images, at any place of them."""
    rng = numpy_rng(seed, "patches")
    side = -(-edge // int(rng.choice(SPLITS)))
    whole = np.zeros((edge + side, edge + side, 3), np.uint8)
    height, width = images.shape[1:3]
    for top in range(0, edge, side):
        for left in range(0, edge, side):
            image = np.asarray(images[rng.integers(len(images))])
            y, x = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
            whole[top : top + side, left : left + side] = image[y : y + side, x : x + side]
    return whole[:edge, :edge]


def leaves(seed: int, edge: int, images: Pixels) -> Pixels:
    """A drawing of dead leaves."""
    return dead_leaves(edge, seed)


MAKERS: Mapping[str, Maker] = {
    "noise": noise,
    "flat": flat,
    "patches": patches,
    "dead_leaves": leaves,
}


def outliers(kind: str, count: int, edge: int, images: Pixels, seed: int) -> Pixels:
    """``count`` images ``(count, edge, edge, 3)`` of a kind; the same seed, the same bytes.

    Args:
        images: ``(N, H, W, 3)``, both sides at least ``edge``: what patches are cut from.
    """
    seeds = (derive(seed, "outlier", kind, index) for index in range(count))
    return np.stack([MAKERS[kind](each, edge, images) for each in seeds])
