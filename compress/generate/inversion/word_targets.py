"""Targets from prompts in words.

A style word with ``{}`` in it is a whole prompt: "a photo of a {} at night". Texts are encoded one
at a time, so that no bit of a target depends on which others are encoded with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from compress.data.split import ClassInfo
from compress.engine.config import PromptSettings
from compress.engine.errors import ConfigError
from compress.engine.seeds import numpy_rng
from compress.generate.jobs import Job
from compress.generate.sources import Sources
from compress.teacher.clip import ClipTeacher
from compress.teacher.prompts import check_templates, fill, prompts_for
from compress.teacher.pseudo_words import SLOT

_MARK = "\0"


@dataclass(frozen=True)
class ImageTarget:
    """What one image is optimized toward.

    Attributes:
        feature: ``(D,)``, unit.
        prompt: as recorded; ``{style 3}`` stands for learned style 3.
        style_id: its style, if the kind has styles; of a mixture the heaviest.
        source_ids: the shots it was made from.
    """

    feature: Tensor
    prompt: str | None
    style_id: int | None = None
    source_ids: tuple[str, ...] = ()


class PromptTargets(ABC):
    """The targets of a run, and the features of texts that they are made of."""

    def __init__(self, settings: PromptSettings, sources: Sources, teacher: ClipTeacher) -> None:
        self.settings = settings
        self.sources = sources
        self.teacher = teacher
        self._features: dict[str, Tensor] = {}

    @abstractmethod
    def target(self, job: Job) -> ImageTarget:
        """The target of an image, from its class and its seed alone."""

    def check(self) -> None:
        """Raises ConfigError for settings that no target can be made from; asks no teacher."""
        return  # most refuse nothing

    @cached_property
    def class_head(self) -> Tensor:
        """Unit features ``(K, D)`` of all classes without a style, for the class term."""
        return torch.stack([self.feature(entry.prompt) for entry in self.sources.classes])

    def style_features(self, class_id: int) -> Tensor:
        """Unit features ``(M, D)`` of a class in each of the styles; M is 0 without any."""
        return self.class_head.new_empty(0, self.class_head.shape[1])

    def facts(self) -> dict[str, object]:
        """What the report says about this kind alone."""
        return {}

    def feature(self, text: str) -> Tensor:
        """The unit feature ``(D,)`` of a text."""
        if text not in self._features:
            encoded = torch.from_numpy(self.teacher.encode_texts([text])[0])
            self._features[text] = encoded.to(self.teacher.device)
        return self._features[text]

    def styled(self, class_id: int, word: str) -> str:
        """The prompt of a class in a style."""
        return styled(self.settings.style_template, word, self.sources.classes[class_id])


class FixedPrompt(PromptTargets):
    """The prompt of the class."""

    def target(self, job: Job) -> ImageTarget:
        """``u(E_txt(template of the class))``."""
        text = filled(self.settings.template, self.sources.classes[job.class_id])
        return ImageTarget(self.feature(text), text)

    def check(self) -> None:
        """The template can be filled."""
        for entry in self.sources.classes:
            filled(self.settings.template, entry)


class WordPrompt(PromptTargets):
    """Real styles, one drawn per image."""

    def target(self, job: Job) -> ImageTarget:
        """``u(E_txt("{class} in the style of {word}"))``."""
        style = int(style_rng(job).integers(len(self.words)))
        text = self.styled(job.class_id, self.words[style])
        return ImageTarget(self.feature(text), text, style)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The style words; at least one."""
        if not self.settings.words:
            raise ConfigError("there are no style words", remedy="set generate.prompts.words")
        return self.settings.words

    def style_features(self, class_id: int) -> Tensor:
        """Of the class in the style of each word."""
        return torch.stack([self.feature(self.styled(class_id, word)) for word in self.words])

    def check(self) -> None:
        """There are words, and the template takes each."""
        for word in self.words:
            for class_id in range(len(self.sources.classes)):
                self.styled(class_id, word)

    def facts(self) -> dict[str, object]:
        """The words."""
        return {"styles": list(self.words)}


def style_rng(job: Job) -> np.random.Generator:
    """Draws the style of an image."""
    return numpy_rng(job.seed, "style")


def filled(template: str, entry: ClassInfo) -> str:
    """The prompt of one class from one template."""
    return prompts_for([entry], [template])[0][0]


def styled(template: str, word: str, entry: ClassInfo) -> str:
    """The prompt of a class in a style: ``{style}`` filled, or ``word`` itself if it has a ``{}``.

    ``SLOT`` as the word keeps ``{style}``. "a(n) {style}" gets its article.

    Raises:
        ConfigError: a template without ``{style}``, or one that cannot be filled.
    """
    if "{}" in word:
        return filled(word, entry)
    if template.count(SLOT) != 1:
        raise ConfigError(
            "a style template needs the style once", got=repr(template), expected=f"one {SLOT}"
        )
    check_templates([template.replace(SLOT, "style")])
    article = "a " + SLOT if word == SLOT else fill("a(n) {}", ClassInfo(word, word, None))
    marked = template.replace(f"a(n) {SLOT}", _MARK * 2).replace(SLOT, _MARK)
    return filled(marked, entry).replace(_MARK * 2, str(article)).replace(_MARK, word)
