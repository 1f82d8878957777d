"""The seven attributes of a flower of the world `petals`, their numbering and their words.

A flower is a row of seven small integers in the order of ``ATTRIBUTES``; there are 7,680 of them.
Renderer, captions, species and the auxiliary training head read the tables of this file. Names and
words in British spelling are part of the shipped weights: the teacher's vocabulary and metrics.json
hold them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

COUNTS = (3, 4, 5, 6, 8)
SHAPES = ("round", "pointed", "notched", "strap")
COLORS = {
    "red": (0.83, 0.10, 0.12),
    "pink": (0.96, 0.55, 0.68),
    "orange": (0.96, 0.52, 0.08),
    "yellow": (0.97, 0.88, 0.16),
    "white": (0.95, 0.95, 0.92),
    "blue": (0.20, 0.35, 0.88),
    "purple": (0.50, 0.18, 0.68),
    "maroon": (0.42, 0.04, 0.14),
}
CENTER_COLORS = {
    "yellow": (0.95, 0.80, 0.10),
    "brown": (0.36, 0.20, 0.08),
    "green": (0.45, 0.68, 0.20),
    "black": (0.07, 0.06, 0.08),
}
PATTERNS = ("plain", "tipped", "veined")

# attribute -> the words of its values; the order is the column order of every attribute array
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "count": ("three", "four", "five", "six", "eight"),
    "shape": SHAPES,
    "colour": tuple(COLORS),
    "centre_colour": tuple(CENTER_COLORS),
    "centre_size": ("small", "large"),
    "layering": ("single", "double"),
    "pattern": PATTERNS,
}
NAMES = tuple(ATTRIBUTES)
CARDINALITIES = tuple(len(words) for words in ATTRIBUTES.values())
STYLES = ("photo", "sketch", "painting", "night", "fog")

COUNT, SHAPE, COLOR, CENTER_COLOR, CENTER_SIZE, LAYERING, PATTERN = range(len(NAMES))


def code(attributes: np.ndarray) -> np.ndarray:
    """The numbers (N,) of attribute rows (N, 7): a mixed-radix index below 7,680."""
    return np.ravel_multi_index(tuple(np.asarray(attributes).T), CARDINALITIES)


def decode(codes: np.ndarray) -> np.ndarray:
    """The attribute rows (N, 7) of the numbers (N,); the inverse of :func:`code`."""
    return np.stack(np.unravel_index(np.asarray(codes), CARDINALITIES), axis=-1)


def allowed_codes(banned: frozenset[int]) -> np.ndarray:
    """Every flower number that is not banned, ascending."""
    everything = np.arange(int(np.prod(CARDINALITIES)))
    return everything[~np.isin(everything, sorted(banned))]


def noun_phrase(row: Sequence[int], kept: Collection[int] = range(len(NAMES))) -> str:
    """The words for the flower ``row`` (7,) that name the attributes in ``kept``.

    >>> noun_phrase((2, 0, 0, 1, 1, 1, 0), kept=(0, 2, 3))
    'red flower with five petals and a brown centre'
    """
    words = {index: ATTRIBUTES[NAMES[index]][row[index]] for index in kept}

    def spoken(*columns: int) -> str:
        return " ".join(words[index] for index in columns if index in words)

    flower = f"{spoken(LAYERING, COLOR)} flower".lstrip()
    petals = spoken(COUNT, SHAPE, PATTERN)
    center = spoken(CENTER_SIZE, CENTER_COLOR)
    parts = [f"{petals} petals"] * bool(petals) + [f"a {center} centre"] * bool(center)
    return f"{flower} with {' and '.join(parts)}" if parts else flower
