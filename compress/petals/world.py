"""The world `petals`: 32 species that no shipped network has seen, and endless training flowers.

The species form 8 look-alike genera of 4. A genus shares color and petal shape; two species of it
differ in at least two of the other attributes, and every genus has more than one petal count. A
species' *name* holds its color and three other attributes, fixed as common names are. Some names
fit a sister species as well, so that a zero-shot teacher cannot be perfect; its *caption* holds all
seven.

The species are banned from every training picture, also from the clutter flowers in its corners.
No picture is stored: each is drawn from (seed, split, species, style, index) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.engine.errors import DataError, require_known
from compress.engine.seeds import derive, numpy_rng
from compress.petals import attributes as at
from compress.petals.render import SIZE, Nuisance, render

SPLITS = {"train": 64, "test": 40}  # pictures per species; shots are drawn from "train"
# Species are drawn in harder conditions than the training flowers (strength 1): worse light, more
# clutter, steeper views. At strength 1 one picture of a species is enough for the teacher.
WILD = Nuisance(pose=1.4, clutter=1.4, light=1.4)
STYLE_SHARES = (0.72, 0.07, 0.07, 0.07, 0.07)  # of the training pictures, in the order of STYLES


@dataclass(frozen=True)
class Species:
    """One held-out flower: its seven attribute values, and the attributes that its name holds."""

    attributes: tuple[int, ...]
    named: tuple[int, ...]

    @property
    def name(self) -> str:
        """The incomplete class name: color and three other attributes."""
        return at.noun_phrase(self.attributes, self.named)

    @property
    def caption(self) -> str:
        """The complete description: all seven attributes."""
        return at.noun_phrase(self.attributes)


# One genus a line. A species is its seven attribute values in the order of ``at.ATTRIBUTES``, a
# stroke, and the columns that its name holds.
_GENERA = {
    "red flowers with round petals": "4001010/0125 4002011/1236 2000000/2356 3001100/0256",
    "pink flowers with pointed petals": "1111101/2345 2110011/1234 0111011/0235 0110001/1246",
    "yellow flowers with notched petals": "2230100/1234 3231110/0256 3232102/0246 3233111/0124",
    "blue flowers with strap petals": "0353100/0123 0351000/0246 4353110/0126 1352100/2456",
    "purple flowers with round petals": "4063002/2456 3063000/0126 3062010/0246 2060102/2345",
    "white flowers with pointed petals": "1141001/0236 3141101/0234 0142101/0245 1141100/0234",
    "orange flowers with strap petals": "2320111/1246 4321002/0123 4321111/1245 4323101/0125",
    "maroon flowers with notched petals": "4273002/2346 0273012/1246 4270012/0125 1271011/2456",
}
SPECIES: tuple[Species, ...] = tuple(
    Species(*(tuple(int(digit) for digit in digits) for digits in row.split("/")))
    for genus in _GENERA.values()
    for row in genus.split()
)
GENUS_SIZE = 4
ONE_A_GENUS = tuple(range(0, len(SPECIES), GENUS_SIZE))  # species that no other looks like
_BANNED = frozenset(at.code(np.array([species.attributes for species in SPECIES])).tolist())
_NEIGHBORS = at.allowed_codes(_BANNED)


def render_species(
    species_ids: Sequence[int],
    split: str,
    indices: Sequence[int],
    style: str = "photo",
    seed: int = 0,
    nuisance: Nuisance = WILD,
) -> np.ndarray:
    """Pictures uint8 (N, 32, 32, 3): number ``indices[i]`` of species ``species_ids[i]``."""
    require_known(split, SPLITS, "unknown split of petals", DataError)
    require_known(style, at.STYLES, "unknown style of petals", DataError)
    pairs = [(int(s), int(i)) for s, i in zip(species_ids, indices, strict=True)]
    for species, index in pairs:
        if not 0 <= species < len(SPECIES):
            expected = f"0..{len(SPECIES) - 1}"
            raise DataError("no such species of petals", got=species, expected=expected)
        if not 0 <= index < SPLITS[split]:
            expected = f"0..{SPLITS[split] - 1}"
            raise DataError(f"no such picture in petals/{split}", got=index, expected=expected)
    if not pairs:
        return np.empty((0, SIZE, SIZE, 3), np.uint8)
    rows = np.array([SPECIES[species].attributes for species, _ in pairs])
    seeds = [derive(seed, "petals", split, species, style, index) for species, index in pairs]
    return render(rows, seeds, at.STYLES.index(style), neighbors=_NEIGHBORS, nuisance=nuisance)


@dataclass(frozen=True)
class TrainingFlowers:
    """Flowers that are no species: images uint8 (N, 32, 32, 3), attributes (N, 7), styles (N,)."""

    images: np.ndarray
    attributes: np.ndarray
    styles: np.ndarray


def training_flowers(start: int, stop: int, seed: int = 0) -> TrainingFlowers:
    """The training pictures number ``start`` to ``stop`` of a seed's endless sequence."""
    attributes = np.empty((stop - start, len(at.NAMES)), np.int64)
    styles = np.empty(stop - start, np.int64)
    for row, index in enumerate(range(start, stop)):
        kind, style = numpy_rng(seed, "petals", "flowers", index).random(2)
        attributes[row] = at.decode(_NEIGHBORS[int(kind * len(_NEIGHBORS))])
        styles[row] = np.searchsorted(np.cumsum(STYLE_SHARES)[:-1], style, side="right")
    seeds = [derive(seed, "petals", "pixels", index) for index in range(start, stop)]
    images = render(attributes, seeds, styles, neighbors=_NEIGHBORS)
    return TrainingFlowers(images, attributes, styles)
