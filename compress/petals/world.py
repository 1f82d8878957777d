"""The world `petals`: 32 species that no shipped network has seen, and endless flowers the networks
were trained on.

The species form 8 look-alike genera of 4. A genus shares color and petal shape; two species of it
differ in at least two of the other attributes, and every genus has more than one petal count. A
species' *name* tells its color and three other attributes, fixed for ever, as common names do, and
some names fit a sister species as well, so that a zero-shot teacher cannot be perfect; its
*caption* tells all seven.

The species are banned from every training picture, also from the clutter flowers in its corners.
Nothing here stores a
picture: each is drawn when asked for, from (seed, split, species, style, index) alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from compress.engine.errors import DataError, nearest
from compress.engine.seeds import derive, numpy_rng
from compress.petals import attributes as at
from compress.petals.captions import TEMPLATES, noun_phrase, training_caption
from compress.petals.render import SIZE, Nuisance, render

#: split -> pictures per species; few-shot draws come from "train"
SPLITS = {"train": 64, "test": 40}
#: the species are met in harder conditions than the training flowers (which have strength 1): worse
#: light, more
#: clutter, steeper views. At strength 1 one picture of a species is enough for the teacher: no task
#: is left.
WILD = Nuisance(pose=1.4, clutter=1.4, light=1.4)
#: how often each style occurs among training pictures, in the order of ``STYLES``
STYLE_SHARES = (0.72, 0.07, 0.07, 0.07, 0.07)


@dataclass(frozen=True)
class Species:
    """One held-out flower: its seven attribute values, and which of them its name tells."""

    attributes: tuple[int, ...]
    told: tuple[int, ...]

    @property
    def name(self) -> str:
        """The incomplete class name: color and three other attributes."""
        return noun_phrase(self.attributes, self.told)

    @property
    def caption(self) -> str:
        """The complete description: all seven attributes."""
        return noun_phrase(self.attributes)


# (count, shape, color, center color, center size, layering, pattern), attributes told by the name
SPECIES: tuple[Species, ...] = tuple(
    Species(attributes, told)
    for attributes, told in (
        ((4, 0, 0, 1, 0, 1, 0), (0, 1, 2, 5)),  # double red flower with eight round petals
        (
            (4, 0, 0, 2, 0, 1, 1),
            (1, 2, 3, 6),
        ),  # red flower with round tipped petals and a green center
        (
            (2, 0, 0, 0, 0, 0, 0),
            (2, 3, 5, 6),
        ),  # single red flower with plain petals and a yellow center
        ((3, 0, 0, 1, 1, 0, 0), (0, 2, 5, 6)),  # single red flower with six plain petals
        ((1, 1, 1, 1, 1, 0, 1), (2, 3, 4, 5)),  # single pink flower with a large brown center
        (
            (2, 1, 1, 0, 0, 1, 1),
            (1, 2, 3, 4),
        ),  # pink flower with pointed petals and a small yellow center
        (
            (0, 1, 1, 1, 0, 1, 1),
            (0, 2, 3, 5),
        ),  # double pink flower with three petals and a brown center
        (
            (0, 1, 1, 0, 0, 0, 1),
            (1, 2, 4, 6),
        ),  # pink flower with pointed tipped petals and a small center
        (
            (2, 2, 3, 0, 1, 0, 0),
            (1, 2, 3, 4),
        ),  # yellow flower with notched petals and a large yellow center
        ((3, 2, 3, 1, 1, 1, 0), (0, 2, 5, 6)),  # double yellow flower with six plain petals
        (
            (3, 2, 3, 2, 1, 0, 2),
            (0, 2, 4, 6),
        ),  # yellow flower with six veined petals and a large center
        (
            (3, 2, 3, 3, 1, 1, 1),
            (0, 1, 2, 4),
        ),  # yellow flower with six notched petals and a large center
        (
            (0, 3, 5, 3, 1, 0, 0),
            (0, 1, 2, 3),
        ),  # blue flower with three strap petals and a black center
        (
            (0, 3, 5, 1, 0, 0, 0),
            (0, 2, 4, 6),
        ),  # blue flower with three plain petals and a small center
        ((4, 3, 5, 3, 1, 1, 0), (0, 1, 2, 6)),  # blue flower with eight strap plain petals
        (
            (1, 3, 5, 2, 1, 0, 0),
            (2, 4, 5, 6),
        ),  # single blue flower with plain petals and a large center
        (
            (4, 0, 6, 3, 0, 0, 2),
            (2, 4, 5, 6),
        ),  # single purple flower with veined petals and a small center
        ((3, 0, 6, 3, 0, 0, 0), (0, 1, 2, 6)),  # purple flower with six round plain petals
        (
            (3, 0, 6, 2, 0, 1, 0),
            (0, 2, 4, 6),
        ),  # purple flower with six plain petals and a small center
        ((2, 0, 6, 0, 1, 0, 2), (2, 3, 4, 5)),  # single purple flower with a large yellow center
        (
            (1, 1, 4, 1, 0, 0, 1),
            (0, 2, 3, 6),
        ),  # white flower with four tipped petals and a brown center
        (
            (3, 1, 4, 1, 1, 0, 1),
            (0, 2, 3, 4),
        ),  # white flower with six petals and a large brown center
        (
            (0, 1, 4, 2, 1, 0, 1),
            (0, 2, 4, 5),
        ),  # single white flower with three petals and a large center
        (
            (1, 1, 4, 1, 1, 0, 0),
            (0, 2, 3, 4),
        ),  # white flower with four petals and a large brown center
        (
            (2, 3, 2, 0, 1, 1, 1),
            (1, 2, 4, 6),
        ),  # orange flower with strap tipped petals and a large center
        (
            (4, 3, 2, 1, 0, 0, 2),
            (0, 1, 2, 3),
        ),  # orange flower with eight strap petals and a brown center
        (
            (4, 3, 2, 1, 1, 1, 1),
            (1, 2, 4, 5),
        ),  # double orange flower with strap petals and a large center
        ((4, 3, 2, 3, 1, 0, 1), (0, 1, 2, 5)),  # single orange flower with eight strap petals
        (
            (4, 2, 7, 3, 0, 0, 2),
            (2, 3, 4, 6),
        ),  # maroon flower with veined petals and a small black center
        (
            (0, 2, 7, 3, 0, 1, 2),
            (1, 2, 4, 6),
        ),  # maroon flower with notched veined petals and a small center
        ((4, 2, 7, 0, 0, 1, 2), (0, 1, 2, 5)),  # double maroon flower with eight notched petals
        (
            (1, 2, 7, 1, 0, 1, 1),
            (2, 4, 5, 6),
        ),  # double maroon flower with tipped petals and a small center
    )
)
GENUS_SIZE = 4
PROMPT_CATEGORY = "a type of flower"
_BANNED = frozenset(
    int(number) for number in at.code(np.array([species.attributes for species in SPECIES]))
)
_NEIGHBORS = at.allowed_codes(_BANNED)


def render_species(
    species_ids: Sequence[int],
    split: str,
    indices: Sequence[int],
    style: str = "photo",
    seed: int = 0,
    nuisance: Nuisance = WILD,
) -> np.ndarray:
    """Pictures uint8 (N, 32, 32, 3): number ``indices[i]`` of species ``species_ids[i]`` in one
    split and style.

    Raises DataError for an unknown split or style, a species outside 0..31, or an index beyond the
    split.
    """
    _must_be_known("split", split, SPLITS)
    _must_be_known("style", style, at.STYLES)
    pairs = [(int(s), int(i)) for s, i in zip(species_ids, indices, strict=True)]
    for species, index in pairs:
        if not 0 <= species < len(SPECIES):
            raise DataError(
                "no such species of petals", got=species, expected=f"0..{len(SPECIES) - 1}"
            )
        if not 0 <= index < SPLITS[split]:
            raise DataError(
                f"no such picture in petals/{split}", got=index, expected=f"0..{SPLITS[split] - 1}"
            )
    if not pairs:
        return np.empty((0, SIZE, SIZE, 3), np.uint8)
    rows = np.array([SPECIES[species].attributes for species, _ in pairs])
    seeds = [derive(seed, "petals", split, species, style, index) for species, index in pairs]
    return render(rows, seeds, at.STYLES.index(style), neighbors=_NEIGHBORS, nuisance=nuisance)


def render_split(split: str, style: str = "photo", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A whole split, species by species: pictures uint8 (N, 32, 32, 3) and species numbers int64
    (N,).
    """
    _must_be_known("split", split, SPLITS)
    labels = np.repeat(np.arange(len(SPECIES)), SPLITS[split])
    indices = np.tile(np.arange(SPLITS[split]), len(SPECIES))
    return render_species(labels.tolist(), split, indices.tolist(), style, seed), labels


@dataclass(frozen=True)
class TrainingFlowers:
    """Pictures uint8 (N, 32, 32, 3) of flowers that are no species, with attribute rows (N, 7) and
    styles (N,).
    """

    images: np.ndarray
    attributes: np.ndarray
    styles: np.ndarray

    def captions(self, rng: np.random.Generator, rows: Sequence[int] | np.ndarray) -> list[str]:
        """A fresh random caption of each picture named in ``rows``."""
        return [
            training_caption(self.attributes[i].tolist(), int(self.styles[i]), rng) for i in rows
        ]


def training_flowers(start: int, stop: int, seed: int = 0) -> TrainingFlowers:
    """The training pictures number ``start`` to ``stop`` of the endless sequence named by
    ``seed``.
    """
    attributes, styles = (
        np.empty((stop - start, len(at.NAMES)), np.int64),
        np.empty(stop - start, np.int64),
    )
    for row, index in enumerate(range(start, stop)):
        kind, style = numpy_rng(seed, "petals", "flowers", index).random(2)
        attributes[row] = at.decode(_NEIGHBORS[int(kind * len(_NEIGHBORS))])
        styles[row] = np.searchsorted(np.cumsum(STYLE_SHARES)[:-1], style, side="right")
    seeds = [derive(seed, "petals", "pixels", index) for index in range(start, stop)]
    return TrainingFlowers(
        render(attributes, seeds, styles, neighbors=_NEIGHBORS), attributes, styles
    )


def _must_be_known(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise DataError(f"unknown {what} of petals", got=name, remedy=nearest(name, known))


def class_prompts(style: str = "photo", *, complete: bool = False) -> list[str]:
    """One prompt for each species, of its name or of its complete caption, in the style's first
    template.
    """
    return [
        TEMPLATES[style][0].format(species.caption if complete else species.name)
        for species in SPECIES
    ]
