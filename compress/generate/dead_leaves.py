"""Pictures of no class: dead leaves, disks and polygons of all sizes that cover one another.

Their edges, areas and spectra are like those of photos (Lee, Mumford & Huang, IJCV 41, 2001), and
networks have learned to see from them alone (Baradad et al., NeurIPS 2021, arXiv 2106.05963). So
they show a network what to expect where there is no photo at all: the ranges of its activations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from compress.engine.seeds import numpy_rng

EDGE = 256  # pixels
FINER = 2  # drawn at twice the edge, then averaged: smooth edges
SMALLEST, LARGEST = 0.015, 0.5  # radius, in edges of the picture; their density falls with r**3
LEAVES = 500
CORNERS = (3, 9)  # of a polygon; every other leaf is a disk


class DeadLeaves:
    """What draws them, as a tool of a strategy."""

    name = "dead-leaves"
    license = "Apache-2.0"
    image_size = EDGE

    def fingerprint(self) -> str:
        """Identifies how they are drawn."""
        return "dead-leaves-1"

    def draw(self, seeds: Sequence[int]) -> NDArray[np.uint8]:
        """One picture ``(EDGE, EDGE, 3)`` per seed."""
        return np.stack([dead_leaves(EDGE, seed) for seed in seeds])


def dead_leaves(edge: int, seed: int) -> NDArray[np.uint8]:
    """One picture ``(edge, edge, 3)``; the same for the same seed."""
    rng = numpy_rng(seed, "dead leaves")
    side = edge * FINER
    mean, spread = rng.uniform(60, 195, 3), rng.uniform(20, 80)  # the colors of one picture
    image = Image.new("RGB", (side, side), _color(rng, mean, spread))
    draw = ImageDraw.Draw(image)
    # inverse of the distribution function of 1 / r**3
    share = rng.uniform(size=LEAVES)
    radii = (share * SMALLEST**-2 + (1 - share) * LARGEST**-2) ** -0.5
    for number, radius in enumerate(np.sort(radii)[::-1]):  # the large ones lie below
        x, y = rng.uniform(-0.1, 1.1, 2) * side
        r = radius * side
        color = _color(rng, mean, spread)
        if number % 2:
            draw.ellipse((x - r, y - r * rng.uniform(0.5, 1), x + r, y + r), fill=color)
            continue
        corners = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(*CORNERS)))
        points = [(x + r * math.cos(a), y + r * math.sin(a)) for a in corners.tolist()]
        draw.polygon(points, fill=color)
    small = image.resize((edge, edge), Image.Resampling.BOX)
    soft = small.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.2)))
    grain = rng.normal(0, rng.uniform(0, 12), (edge, edge, 3))
    top, bottom = rng.uniform(0.6, 1.2, 2)
    light = np.linspace(top, bottom, edge)[:, None, None]
    return (np.asarray(soft) * light + grain).clip(0, 255).astype(np.uint8)


def _color(rng: np.random.Generator, mean: NDArray[np.float64], spread: float) -> tuple[int, ...]:
    return tuple(int(value) for value in rng.normal(mean, spread).clip(0, 255))
