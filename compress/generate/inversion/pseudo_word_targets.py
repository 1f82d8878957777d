"""Targets from prompts in which the style is a vector in the place of a word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from compress.data.split import ClassInfo
from compress.engine.errors import ConfigError
from compress.engine.seeds import numpy_rng, torch_rng
from compress.generate.inversion.pseudo_styles import LEARNERS, StylePrompts, infonce, statistics
from compress.generate.inversion.word_targets import (
    ImageTarget,
    PromptTargets,
    WordPrompt,
    style_rng,
    styled,
)
from compress.generate.jobs import Job
from compress.teacher.pseudo_words import SLOT, encode, slots, token_table, word_vectors

KEPT = 0.95  # share of random styles under which the nearest class must stay the same; our choice
# of random vectors, in deviations of the table; the first that keeps the class is used
SCALES = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125)
JITTER = 0.25  # share of a random vector that is noise, in deviations of the table; our choice
PROBES = 64


class PseudoWordPrompt(WordPrompt):
    """What these kinds share: the class in the style of a vector."""

    @cached_property
    def prompts(self) -> StylePrompts:
        """The prompts of all classes, with a place for the style."""
        classes = self.sources.classes
        texts = [self.styled(class_id, SLOT) for class_id in range(len(classes))]
        nameless = ClassInfo("", "", classes[0].category)
        bare = " ".join(styled(self.settings.style_template, SLOT, nameless).split())
        return StylePrompts(
            self.teacher,
            slots(self.teacher, texts),
            slots(self.teacher, [bare]),
            self.class_head,
            self.sources.seed,
        )

    def check(self) -> None:
        """The template has one place for the style."""
        for class_id in range(len(self.sources.classes)):
            self.styled(class_id, SLOT)

    def in_style(self, class_id: int, vector: Tensor) -> Tensor:
        """The feature ``(D,)`` of a class in the style of a vector ``(d,)``."""
        with torch.no_grad():
            return encode(self.teacher, self.prompts.classes.rows([class_id]), vector[None])[0]

    def _named(self, class_id: int, style: str) -> str:
        return self.styled(class_id, SLOT).replace(SLOT, style)


class MixPrompt(PseudoWordPrompt):
    """Mix-Prompt: weights from a Dirichlet distribution over a few random styles."""

    def target(self, job: Job) -> ImageTarget:
        """``u(sum of lambda_i * u(E_txt(class in style i)))``, or token embeddings mixed."""
        rng = style_rng(job)
        count = self.settings.mixed
        self.require_enough()
        styles = rng.choice(len(self.words), count, replace=False)
        weights = rng.dirichlet(np.full(count, self.settings.mix_alpha))
        feature = self.mixed(job.class_id, styles.tolist(), weights.tolist())
        texts = [self.styled(job.class_id, self.words[style]) for style in styles]
        parts = [f"{weight:.3f} {text}" for weight, text in zip(weights, texts, strict=True)]
        return ImageTarget(feature, " + ".join(parts), int(styles[weights.argmax()]))

    @cached_property
    def vectors(self) -> Tensor:
        """``(N, d)`` token embeddings of the words."""
        return word_vectors(self.teacher, self.words)

    def check(self) -> None:
        """There are words enough to mix, and the template takes each."""
        self.require_enough()
        WordPrompt.check(self)

    def require_enough(self) -> None:
        """Raises ConfigError for fewer words than a mix has."""
        count = self.settings.mixed
        if count > len(self.words):
            got = f"{count} of {len(self.words)} words"
            raise ConfigError("more styles to mix than there are", got=got)

    def mixed(self, class_id: int, styles: Sequence[int], weights: Sequence[float]) -> Tensor:
        """The class in each style, mixed as text features or, before the tower, as tokens."""
        if self.settings.mix_level == "token":
            shares = torch.tensor(weights, dtype=torch.float32, device=self.vectors.device)
            return self.in_style(class_id, shares @ self.vectors[list(styles)])
        texts = [self.styled(class_id, self.words[style]) for style in styles]
        total = sum(w * self.feature(text) for w, text in zip(weights, texts, strict=True))
        return functional.normalize(torch.as_tensor(total), dim=-1)


class RandomPrompt(PseudoWordPrompt):
    """Random-Prompt: vectors with the mean and deviation of the token table, per dimension.

    A random row of the table with noise on it, as a smoothed bootstrap draws: noise of these
    moments alone lies between the words. In the embedded teacher it moved no target of a class by
    more than 0.03 (1 - cos), whatever its scale; rows move them by 0.16, mixed styles by 0.11.
    """

    def target(self, job: Job) -> ImageTarget:
        """``u(E_txt[class in the style of v])`` with a new ``v`` for every image."""
        feature = self.in_style(job.class_id, self.draw(job.seed, self.scale))
        return ImageTarget(feature, self._named(job.class_id, "{random}"))

    def draw(self, seed: int, scale: float = 1.0) -> Tensor:
        """``(d,)``: mean + ``scale`` * (a row - mean, with `JITTER` of it replaced by noise)."""
        rng = torch_rng(seed, "random style")
        table = token_table(self.teacher)
        mean, deviation = self.moments
        row = table[int(torch.randint(len(table), (), generator=rng))]
        noise = torch.randn(len(mean), generator=rng).to(mean.device)
        part = math.sqrt(1 - JITTER**2) * (row - mean) + JITTER * deviation * noise
        return mean + scale * part

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``(d,)`` of the table of token embeddings."""
        table = token_table(self.teacher)
        return table.mean(0), table.std(0)

    @cached_property
    def scale(self) -> float:
        """The largest of `SCALES` at which random styles keep the class."""
        for scale in SCALES:
            if self.kept(scale) >= KEPT:
                return scale
        raise ConfigError(
            "random styles drown the class in this prompt",
            got=repr(self.settings.style_template),
            expected="a class that is still the nearest one",
            remedy="set generate.prompts.style_template or .kind",
        )

    def kept(self, scale: float) -> float:
        """The share of random styles under which the nearest class name stays the right one."""
        classes = len(self.sources.classes)
        right = 0
        for probe in range(PROBES):
            seed = int(numpy_rng(self.sources.seed, "random style", probe).integers(2**62))
            feature = self.in_style(probe % classes, self.draw(seed, scale))
            right += int((self.class_head @ feature).argmax()) == probe % classes
        return right / PROBES

    def style_features(self, class_id: int) -> Tensor:
        """None: every image has a style of its own."""
        return PromptTargets.style_features(self, class_id)

    def facts(self) -> dict[str, object]:
        """The scale of the vectors."""
        return {"random_style_scale": self.scale}


class ContrastivePrompt(PseudoWordPrompt):
    """Contrastive-Prompt: M styles that learn to differ and to keep the class."""

    def target(self, job: Job) -> ImageTarget:
        """``u(E_txt[class in the style of v_i])``, i uniform."""
        style = int(style_rng(job).integers(len(self.vectors)))
        feature = self.in_style(job.class_id, self.vectors[style])
        return ImageTarget(feature, self._named(job.class_id, f"{{style {style}}}"), style)

    @cached_property
    def start(self) -> Tensor:
        """``(M, d)`` before learning: normal noise of ``init_std``."""
        shape = self.settings.count, token_table(self.teacher).shape[1]
        noise = torch.randn(shape, generator=torch_rng(self.sources.seed, "pseudo_styles", "start"))
        return self.settings.init_std * noise.to(self.teacher.device)

    @cached_property
    def vectors(self) -> Tensor:
        """``(M, d)`` after learning; the same for every image of the run."""
        learn = LEARNERS[self.settings.contrastive]
        return learn(self.prompts, self.start, self.settings, self.settings.category_weight)

    def style_features(self, class_id: int) -> Tensor:
        """Of the class in each learned style."""
        same = self.prompts.classes.rows([class_id] * len(self.vectors))
        with torch.no_grad():
            return encode(self.teacher, same, self.vectors)

    def facts(self) -> dict[str, object]:
        """How far apart the styles are and how well they keep the class, before and after."""
        before, after = (statistics(self.prompts, v) for v in (self.start, self.vectors))
        return {"styles": len(self.vectors), "style_learning": {"before": before, "after": after}}


class LearnedPrompt(ContrastivePrompt):
    """CVLM's style dictionary: starts from real words, learns with the instance term alone."""

    @cached_property
    def start(self) -> Tensor:
        """The token embeddings of the first ``count`` words."""
        return word_vectors(self.teacher, self.words[: self.settings.count])

    @cached_property
    def vectors(self) -> Tensor:
        return infonce(self.prompts, self.start, self.settings, 0.0)
