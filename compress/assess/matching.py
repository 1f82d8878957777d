"""Which label of a bundle a class of images is: by its name, its prompt or a synonym."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from compress.data.class_names import look_alike, readable_name
from compress.data.folders.words import ClassWords, words_of
from compress.data.split import ClassInfo
from compress.engine.errors import DataError
from compress.teacher.named import known_names
from runtime.bundle import Label
from runtime.files.paths import line

MOST_SHOWN = 8  # names in a message
LABEL_SET = "imagenet-1k"  # whose names have synonyms of WordNet
By = Literal["name", "prompt", "synonym"]
#: What is compared, the surest first: of the class, of the label. Two synonyms say too little.
ORDER: tuple[tuple[By, By], ...] = (
    *(("name", "name"), ("name", "prompt"), ("prompt", "name"), ("prompt", "prompt")),
    *(("name", "synonym"), ("synonym", "name"), ("prompt", "synonym"), ("synonym", "prompt")),
)


@dataclass(frozen=True)
class Match:
    """A class of images and its label; ``by``: where the two are the same words."""

    name: str
    label: str
    number: int  # of the label
    by: By


@dataclass(frozen=True)
class Matching:
    """The classes that have a label, in their order.

    Attributes:
        ambiguous: class -> labels that fit equally well; its images are not used.
        unknown: classes that are no label.
    """

    matches: tuple[Match, ...]
    ambiguous: Mapping[str, tuple[str, ...]]
    unknown: tuple[str, ...]

    @property
    def labels(self) -> dict[str, int]:
        """Class -> its label's number."""
        return {match.name: match.number for match in self.matches}


def match_classes(classes: Sequence[ClassInfo], labels: Sequence[Label]) -> Matching:
    """Finds the label of every class, whatever the case, signs and form of Unicode.

    What no words of the bundle fit can be another word for what a label names: of ImageNet's names.
    """
    words = words_of([label.name for label in labels])
    known: dict[By, dict[str, set[int]]] = {"name": {}, "prompt": {}, "synonym": {}}
    for number, label in enumerate(labels):
        own = words[label.name]
        _add(known["name"], [label.name], number)
        _add(known["prompt"], [label.prompt or own.prompt, own.prompt], number)
        _add(known["synonym"], [*label.synonyms, *own.synonyms], number)
    rows = _things(labels, words)
    matches = []
    ambiguous: dict[str, tuple[str, ...]] = {}
    unknown = []
    for entry in classes:
        said: dict[By, Sequence[str]] = {
            "name": [entry.name],
            "prompt": [entry.prompt],
            "synonym": entry.synonyms,
        }
        found, by = _first(said, known)
        found, by = (found, by) if found else (_same_thing(entry, rows), "synonym")
        if not found:
            unknown.append(entry.name)
        elif len(found) > 1:
            ambiguous[entry.name] = tuple(labels[number].name for number in sorted(found))
        else:
            number = found.pop()
            matches.append(Match(entry.name, labels[number].name, number, by))
    return Matching(tuple(matches), ambiguous, tuple(unknown))


def require_matches(
    matching: Matching, labels: Sequence[Label], of: object, notes: Sequence[str] = ()
) -> None:
    """Raises DataError if no class has a label; it names both sides, and what reading noted."""
    if matching.matches:
        return
    names = [*matching.unknown, *matching.ambiguous]
    raise DataError(
        f"no class of {of} is a label of the bundle",
        got="; ".join([_listed(names), *notes]),
        expected=_listed([label.name for label in labels]),
        remedy=f"name the folders as the labels, or map them in {of}/classes.yaml (folder: label)",
    )


def _first(
    said: Mapping[By, Sequence[str]], known: Mapping[By, Mapping[str, set[int]]]
) -> tuple[set[int], By]:
    """The labels that fit best, and what they fit by."""
    for own, other in ORDER:
        found = set[int]().union(*(known[other].get(_key(text), ()) for text in said[own]))
        if found:
            return found, other if own == "name" else own
    return set(), "name"


def _things(labels: Sequence[Label], words: Mapping[str, ClassWords]) -> dict[int, int]:
    """ImageNet's classes that labels name -> the labels; a build says the same of its classes."""
    if find_spec("timm") is None:  # it has the words of WordNet
        return {}
    infos = [
        ClassInfo(label.name, label.prompt or words[label.name].prompt, None, label.synonyms)
        for label in labels
    ]
    numbers = known_names(LABEL_SET, infos).indices
    return {row: number for number, row in enumerate(numbers) if row >= 0}


def _same_thing(entry: ClassInfo, rows: Mapping[int, int]) -> set[int]:
    """The label that WordNet has as a synonym of a class: ant, of a folder ``emmet``."""
    (row,) = known_names(LABEL_SET, [entry]).indices if rows else (-1,)
    return {rows[row]} if row in rows else set()


def _add(table: dict[str, set[int]], texts: Iterable[str], number: int) -> None:
    for text in texts:
        if key := _key(text):
            table.setdefault(key, set()).add(number)


def _key(text: str) -> str:
    return look_alike(readable_name(text))


def _listed(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > MOST_SHOWN else ""
    return line(", ".join(names[:MOST_SHOWN]) + more)
