"""Named heads: rows of a network's own classifier, for classes whose names it knows.

A network trained on labeled classes is a zero-shot classifier of them. Names are matched with the
words that WordNet has for each of its classes: "ant, emmet, pismire".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from compress.data.class_names import look_alike
from compress.data.split import ClassInfo


@dataclass(frozen=True)
class Known:
    """Which classes a label set knows by name.

    Attributes:
        indices: per class its row, -1 for an unknown or an ambiguous one.
        meant: class -> the words of its row.
        ambiguous: class -> the several things that its name means.
    """

    indices: tuple[int, ...]
    meant: Mapping[str, str] = field(default_factory=dict)
    ambiguous: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(K,): whether a class has a row."""
        return np.asarray(self.indices) >= 0

    @property
    def complete(self) -> bool:
        """Whether every class has a row."""
        return bool(self.mask.all())

    def rows(self, classifier: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit rows (K, D) of a classifier (C, D); zero for a class without one."""
        out = np.zeros((len(self.indices), classifier.shape[1]), np.float32)
        for position, index in enumerate(self.indices):
            if index >= 0:
                out[position] = classifier[index] / np.linalg.norm(classifier[index])
        return out

    def directions(self, classifier: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Those rows less the mean of all: where classes lie, seen from the center of features."""
        return self.rows(classifier - classifier.mean(axis=0)) if self.mask.any() else None


def known_names(subset: str | None, classes: Sequence[ClassInfo]) -> Known:
    """The classes that a label set of timm's knows, e.g. "imagenet-1k"; none for None."""
    indices = []
    meant: dict[str, str] = {}
    ambiguous: dict[str, list[str]] = {}
    for entry in classes:
        found = _indices(subset, entry) if subset else []
        indices.append(found[0] if len(found) == 1 else -1)
        if subset and len(found) == 1:
            meant[entry.name] = _description(subset, found[0])
        elif subset and found:
            ambiguous[entry.name] = [_description(subset, one) for one in found]
    return Known(tuple(indices), meant, ambiguous)


def _indices(subset: str, entry: ClassInfo) -> list[int]:
    """The classes of a label set that a class's name means, those of its first known word."""
    by_word = _words(subset)
    for word in (entry.name, entry.prompt, *entry.synonyms):
        for form in _forms(word):
            if form in by_word:
                return list(by_word[form])
    return []


def _forms(word: str) -> Iterator[str]:
    """A name as it may stand in WordNet: with spaces, and in the singular."""
    plain = look_alike(re.sub(r"[\W_]+", " ", word).strip())
    yield plain
    if plain.endswith("ies"):
        yield f"{plain[:-3]}y"
    if plain.endswith("es"):
        yield plain[:-2]
    if plain.endswith("s"):
        yield plain[:-1]


@lru_cache(maxsize=4)
def _words(subset: str) -> dict[str, tuple[int, ...]]:
    """Word or WordNet id -> the classes of a label set that it names."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo(subset)
    found: dict[str, set[int]] = defaultdict(set)
    for index in range(info.num_classes()):
        found[info.index_to_label_name(index)].add(index)
        for word in info.index_to_description(index).split(", "):
            found[next(_forms(word))].add(index)
    return {word: tuple(sorted(indices)) for word, indices in found.items()}


def _description(subset: str, index: int) -> str:
    from timm.data import ImageNetInfo

    text: str = ImageNetInfo(subset).index_to_description(index)
    return text
