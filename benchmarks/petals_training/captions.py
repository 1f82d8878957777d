"""The language of the world `petals`: prompt templates, training captions and their tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from compress.petals import attributes as at
from compress.petals.weights import CLIP_VOCABULARY, Tokenizer, byte_pair_encoder, words_of
from compress.petals.world import SPECIES

# style -> prompt templates; prompts use the first, training captions all
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
# how often a training caption leaves an attribute out, in the order of attributes.NAMES
DROPPED = np.array((0.2, 0.25, 0.15, 0.3, 0.4, 0.45, 0.35))


def class_prompts(style: str = "photo", *, complete: bool = False) -> list[str]:
    """One prompt per species in the style's first template, of its name or complete caption."""
    template = TEMPLATES[style][0]
    return [template.format(entry.caption if complete else entry.name) for entry in SPECIES]


def training_caption(row: Sequence[int], style: int, rng: np.random.Generator) -> str:
    """A caption with random attributes left out, in a template of the style or, one in 8, bare."""
    dice = rng.random(len(at.NAMES) + 2)
    phrase = at.noun_phrase(row, np.flatnonzero(dice[:-2] >= DROPPED).tolist())
    if dice[-2] < 0.125:
        return f"a {phrase}"
    templates = TEMPLATES[at.STYLES[style]]
    return templates[0 if dice[-1] < 0.5 else int(dice[-2] * len(templates))].format(phrase)


def every_word() -> tuple[str, ...]:
    """All words of captions, sorted: the vocabulary of the teacher's text tower."""
    words = {"flower", "with", "petals", "and", "a", "centre"}
    for values in at.ATTRIBUTES.values():
        words.update(values)
    for templates in TEMPLATES.values():
        for template in templates:
            words.update(
                template.replace("{}", " ").replace(",", " , ").replace("-", " - ").split()
            )
    return tuple(sorted(words))


def tokenizer_of(texts: Iterable[str]) -> Tokenizer:
    """The tokenizer that knows the words of ``texts``."""
    encode = byte_pair_encoder()
    start_and_end = (CLIP_VOCABULARY - 2, CLIP_VOCABULARY - 1)
    pieces = {piece for text in texts for word in words_of(text) for piece in encode(word)}
    return Tokenizer(sorted(pieces | set(start_and_end)))
