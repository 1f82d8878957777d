"""Named heads: rows of a network's own classifier, for classes whose names it knows.

A network trained on labeled classes is a zero-shot classifier of them. Names are matched with the
words that WordNet has for each of its classes: "ant, emmet, pismire". A word may name other things
too, of which the network knows none: which meaning was taken is told.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from compress.data.class_names import look_alike
from compress.data.folders.words import WORDNET, describe_id
from compress.data.split import ClassInfo

ALL = "imagenet22k"  # timm's name of a label set with the words for most things that can be seen
CHOOSE = "an id of WordNet as the name, or as a synonym in classes.yaml, chooses one"
MOST_TOLD = 8  # classes in a note


@dataclass(frozen=True)
class Known:
    """Which classes a label set knows by name.

    Attributes:
        indices: per class its row, -1 for an unknown or an ambiguous one.
        meant: class -> the words of its row.
        ambiguous: class -> the several things that its name means.
        doubtful: classes with a row whose name means other things as well, which it does not know.
        shared: class -> the one thing that another class's name means, too.
        label_set: timm's name of the label set, None where no names are known.
    """

    indices: tuple[int, ...]
    meant: Mapping[str, str] = field(default_factory=dict)
    ambiguous: Mapping[str, Sequence[str]] = field(default_factory=dict)
    doubtful: frozenset[str] = frozenset()
    shared: Mapping[str, str] = field(default_factory=dict)
    label_set: str | None = None

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

    def notes(self) -> list[str]:
        """What a person should know before a wrong meaning is taught."""
        order = sorted(self.meant, key=lambda name: name not in self.doubtful)
        meant = [
            f"{name} is {self.meant[name]!r}"
            + (" (not the only meaning)" if name in self.doubtful else "")
            for name in order
        ]
        several = [f"{name} ({'; '.join(them)})" for name, them in self.ambiguous.items()]
        choose = f"names of several meanings ({CHOOSE})"
        told = [
            (
                f"names that the networks were trained on, {len(meant)} of {len(self.indices)}",
                meant,
            ),
            (choose, several),
            ("several names of one thing", [f"{k} ({v})" for k, v in self.shared.items()]),
        ]
        return [f"{what}: {_some(them)}" for what, them in told if them]


def known_names(subset: str | None, classes: Sequence[ClassInfo]) -> Known:
    """The classes that a label set of timm's knows, e.g. "imagenet-1k"; none for None."""
    if subset is None:
        return Known((-1,) * len(classes))
    found = [_indices(subset, entry) for entry in classes]
    taken = Counter(one[0][0] for one in found if len(one[0]) == 1)
    indices = []
    meant: dict[str, str] = {}
    ambiguous: dict[str, list[str]] = {}
    shared: dict[str, str] = {}
    doubtful = set()
    for entry, (rows, word) in zip(classes, found, strict=True):
        described = [_description(subset, row) for row in rows]
        known = len(rows) == 1 and taken[rows[0]] == 1  # nobody tells two classes of one row apart
        indices.append(rows[0] if known else -1)
        if known:
            meant[entry.name] = described[0]
            if len(_words(ALL).get(word, ())) > 1:
                doubtful.add(entry.name)
        elif len(rows) == 1:
            shared[entry.name] = _meaning(subset, rows[0])
        elif rows:
            ambiguous[entry.name] = [_meaning(subset, row) for row in rows]
    return Known(tuple(indices), meant, ambiguous, frozenset(doubtful), shared, subset)


def _indices(subset: str, entry: ClassInfo) -> tuple[list[int], str]:
    """The classes of a label set that a class's name means, and the word that was found there.

    An id of WordNet, as name or synonym, means what it says, and no other thing of the same name.
    """
    by_word = _words(subset)
    for word in (entry.name, *entry.synonyms):
        if (match := WORDNET.fullmatch(word)) is not None:
            number = f"n{match[1]}"
            return list(by_word.get(number, ())), number
    for word in (entry.name, entry.prompt, *entry.synonyms):
        for form in _forms(word):
            if form in by_word:
                return list(by_word[form]), form
    return [], ""


def _meaning(subset: str, row: int) -> str:
    """A class of a label set by its WordNet id, words and definition: two may have one word."""
    from timm.data import ImageNetInfo

    number = str(ImageNetInfo(subset).index_to_label_name(row))
    definition = describe_id(number)[1]
    return f"{number} {_description(subset, row)}" + (f", {definition}" if definition else "")


def _some(them: Sequence[str]) -> str:
    more = f" and {len(them) - MOST_TOLD} more" if len(them) > MOST_TOLD else ""
    return "; ".join(them[:MOST_TOLD]) + more


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
