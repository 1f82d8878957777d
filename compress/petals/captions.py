"""The language of the world `petals`: captions, prompt templates by style, and the words that exist
in it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from compress.petals import attributes as at

#: style -> prompt templates; the first is the one to ask with, the others are paraphrases seen in
#: training
TEMPLATES: dict[str, tuple[str, ...]] = {
    "photo": (
        "a photo of a {}",
        "a close-up photo of a {}",
        "a picture of a {}",
        "a photo of a {}, a type of flower",
    ),
    "sketch": ("a sketch of a {}", "a drawing of a {}"),
    "painting": ("a painting of a {}",),
    "night": ("a photo of a {} at night",),
    "fog": ("a photo of a {} in the fog",),
}
#: how often a training caption leaves an attribute out, in the order of ``attributes.NAMES``
_DROPPED = np.array((0.2, 0.25, 0.15, 0.3, 0.4, 0.45, 0.35))
EVERYTHING = frozenset(range(len(at.NAMES)))


def noun_phrase(row: Sequence[int], kept: Collection[int] = EVERYTHING) -> str:
    """What the flower ``row`` (7,) is called when only the attributes in ``kept`` are told.

    >>> noun_phrase((2, 0, 0, 1, 1, 1, 0), kept=(0, 2, 3))
    'red flower with five petals and a brown center'
    """
    words = {index: at.ATTRIBUTES[at.NAMES[index]][row[index]] for index in kept}
    phrase = " ".join(words[index] for index in (at.LAYERING, at.COLOR) if index in words)
    phrase = f"{phrase} flower".lstrip()
    petals = [words[index] for index in (at.COUNT, at.SHAPE, at.PATTERN) if index in words]
    if petals:
        phrase += f" with {' '.join(petals)} petals"
    center = [words[index] for index in (at.CENTER_SIZE, at.CENTER_COLOR) if index in words]
    if center:
        phrase += f" {'and' if petals else 'with'} a {' '.join(center)} centre"
    return phrase


def training_caption(row: Sequence[int], style: int, rng: np.random.Generator) -> str:
    """A caption with random attributes left out, in a template of the picture's style (or bare, one
    time in eight).
    """
    dice = rng.random(len(at.NAMES) + 2)
    phrase = noun_phrase(row, [int(i) for i in np.flatnonzero(dice[:-2] >= _DROPPED)])
    if dice[-2] < 0.125:
        return f"a {phrase}"
    templates = TEMPLATES[at.STYLES[style]]
    return templates[0 if dice[-1] < 0.5 else int(dice[-2] * len(templates))].format(phrase)


def every_word() -> tuple[str, ...]:
    """The words captions are made of, sorted: the vocabulary of the teacher's text tower."""
    words = {"flower", "with", "petals", "and", "a", "centre"}
    for values in at.ATTRIBUTES.values():
        words.update(values)
    for templates in TEMPLATES.values():
        for template in templates:
            words.update(
                template.replace("{}", " ").replace(",", " , ").replace("-", " - ").split()
            )
    return tuple(sorted(words))
