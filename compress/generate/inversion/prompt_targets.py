"""What an image is optimized toward: a unit vector of the teacher's space for a class and an image
(methods.md C.3, E.3, E.5).

    fixed          the prompt of the class, the same for all its images
    mix            a random mixture of the class in several styles (Mix-Prompt)
    random         the class in the style of a random word vector, a new one per image
                   (Random-Prompt)
    contrastive    the class in one of M learned styles (Contrastive-Prompt)
    words          the class in one of N real styles
    learned        the class in one of N styles that start from real ones and learn to differ
                   (system E's dictionary)
    prototypes     the mean of what the teacher sees in the class's shots (system E, image-based)

A style word with ``{}`` in it is a whole prompt of its own: "a photo of a {} at night". `words` and
`mix` of features take those; the others need words that have token embeddings. Texts are encoded
one at a time, so that a target does not depend, even in its last bit, on which others were asked
for together with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

import runtime
from compress.data.split import ClassInfo
from compress.engine.config import PromptSettings
from compress.engine.errors import ConfigError, nearest
from compress.engine.seeds import numpy_rng, torch_rng
from compress.generate.base import Job, Sources
from compress.generate.inversion.pseudo_styles import LEARNERS, Lesson, infonce, statistics
from compress.teacher.clip import Teacher
from compress.teacher.prompts import check_templates, fill, prompts_for
from compress.teacher.pseudo_words import SLOT, Slots, encode, slots, token_table, word_vectors

KEPT = 0.95  # share of random styles that must leave a class the nearest one (methods.md C.5)
SCALES = (
    1.0,
    0.5,
    0.25,
    0.125,
)  # of random vectors around the mean of the table; the first that keeps classes is used
PROBES = 64
_MARK = "\0"


@dataclass(frozen=True)
class Target:
    """Where one image should go.

    Attributes:
        feature: ``(D,)``, unit.
        prompt: as recorded; ``{style 3}`` stands for learned style 3.
        style_id: which style of the dictionary, where there is one; of a mixture the heaviest.
        source_ids: the shots it was made from.
    """

    feature: Tensor
    prompt: str | None
    style_id: int | None = None
    source_ids: tuple[str, ...] = ()


class PromptTarget(Protocol):
    """A row of `PROMPT_TARGETS`, built as ``kind(settings, sources, teacher)``."""

    def target(self, job: Job) -> Target:
        """The target of an image, from its class and its seed alone."""

    @property
    def class_head(self) -> Tensor:
        """Unit features ``(K, D)`` of all classes without a style, for the class-consistent
        term.
        """

    def facts(self) -> dict[str, Any]:
        """What the report should say."""


class Fixed:
    """The prompt of the class; also what the other kinds share."""

    def __init__(self, settings: PromptSettings, sources: Sources, teacher: Teacher) -> None:
        self.settings, self.sources, self.teacher = settings, sources, teacher
        self.entries = [
            ClassInfo(row["name"], row["prompt"], row.get("category")) for row in sources.classes
        ]
        self._read: dict[str, Tensor] = {}

    def target(self, job: Job) -> Target:
        """``u(E_txt(template of the class))``."""
        return self._of(prompts_for([self.entries[job.class_id]], [self.settings.template])[0][0])

    @cached_property
    def class_head(self) -> Tensor:
        """Of the plain class names."""
        return torch.stack([self.read(entry.prompt) for entry in self.entries])

    def facts(self) -> dict[str, Any]:
        """Nothing to add."""
        return {}

    def read(self, text: str) -> Tensor:
        """The unit feature ``(D,)`` of a text."""
        if text not in self._read:
            self._read[text] = torch.from_numpy(self.teacher.encode_texts([text])[0]).to(
                self.teacher.device
            )
        return self._read[text]

    def _of(self, text: str, style_id: int | None = None) -> Target:
        return Target(self.read(text), text, style_id)


class Words(Fixed):
    """Real styles, one drawn per image."""

    def target(self, job: Job) -> Target:
        """``u(E_txt("{class} in the style of {word}"))``."""
        style = int(_rng(job).integers(len(self.words)))
        return self._of(
            styled(self.settings.style_template, self.words[style], self.entries[job.class_id]),
            style,
        )

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The style words; at least one."""
        if not self.settings.words:
            raise ConfigError("there are no style words", remedy="set generate.prompts.words")
        return self.settings.words

    def facts(self) -> dict[str, Any]:
        """The words."""
        return {"styles": list(self.words)}


class Pseudo(Words):
    """What the kinds with vectors in the place of words share."""

    @cached_property
    def lesson(self) -> Lesson:
        """The prompts of all classes with their places."""
        template = self.settings.style_template
        texts = [styled(template, SLOT, entry) for entry in self.entries]
        bare = " ".join(styled(template, SLOT, ClassInfo("", "", self.entries[0].category)).split())
        return Lesson(
            self.teacher,
            slots(self.teacher, texts),
            slots(self.teacher, [bare]),
            self.class_head,
            self.sources.seed,
        )

    def at(self, class_id: int, vector: Tensor) -> Tensor:
        """``(D,)``: a class in the style of a vector ``(d,)``."""
        place: Slots = self.lesson.classes.rows([class_id])
        with torch.no_grad():
            return encode(self.teacher, place, vector[None])[0]

    def _named(self, class_id: int, style: str) -> str:
        return styled(self.settings.style_template, SLOT, self.entries[class_id]).replace(
            SLOT, style
        )


class Mix(Pseudo):
    """Mix-Prompt: weights from a Dirichlet distribution over a few random styles."""

    def target(self, job: Job) -> Target:
        """``u(sum of lambda_i * u(E_txt(class in style i)))``, or the mixture of the styles' token
        embeddings.
        """
        rng, count = _rng(job), self.settings.mixed
        if count > len(self.words):
            raise ConfigError(
                "more styles to mix than there are", got=f"{count} of {len(self.words)} words"
            )
        chosen = rng.choice(len(self.words), count, replace=False)
        weights = rng.dirichlet(np.full(count, self.settings.mix_alpha))
        entry = self.entries[job.class_id]
        parts = [styled(self.settings.style_template, self.words[style], entry) for style in chosen]
        feature = MIX_LEVELS[self.settings.mix_level](
            self, job.class_id, chosen.tolist(), weights.tolist()
        )
        prompt = " + ".join(
            f"{weight:.3f} {part}" for weight, part in zip(weights, parts, strict=True)
        )
        return Target(feature, prompt, int(chosen[weights.argmax()]))

    @cached_property
    def vectors(self) -> Tensor:
        """``(N, d)`` token embeddings of the words."""
        return word_vectors(self.teacher, self.words)

    def features(self, class_id: int, chosen: Sequence[int], weights: Sequence[float]) -> Tensor:
        """Mixes what the text tower makes of each style."""
        entry = self.entries[class_id]
        texts = [styled(self.settings.style_template, self.words[style], entry) for style in chosen]
        mixed = sum(weight * self.read(text) for weight, text in zip(weights, texts, strict=True))
        return functional.normalize(torch.as_tensor(mixed), dim=-1)

    def tokens(self, class_id: int, chosen: Sequence[int], weights: Sequence[float]) -> Tensor:
        """Mixes the styles' token embeddings before the text tower."""
        shares = torch.tensor(weights, dtype=torch.float32, device=self.vectors.device)
        return self.at(class_id, shares @ self.vectors[list(chosen)])


# mix_level -> where the mixture happens.
MIX_LEVELS: dict[str, Callable[[Mix, int, Sequence[int], Sequence[float]], Tensor]] = {
    "feature": Mix.features,
    "token": Mix.tokens,
}


class Random(Pseudo):
    """Random-Prompt: a vector from the normal distribution that the table of token embeddings has,
    per dimension.
    """

    def target(self, job: Job) -> Target:
        """``u(E_txt[class in the style of v])`` with a new ``v`` for every image."""
        return Target(
            self.at(job.class_id, self.draw(job.seed, self.scale)),
            self._named(job.class_id, "{random}"),
        )

    def draw(self, seed: int, scale: float = 1.0) -> Tensor:
        """``(d,)``: mean + ``scale`` * standard deviation * noise."""
        mean, deviation = self.moments
        noise = torch.randn(len(mean), generator=torch_rng(seed, "random style")).to(mean.device)
        return mean + scale * deviation * noise

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``(d,)`` of the table."""
        table = token_table(self.teacher)
        return table.mean(0), table.std(0)

    @cached_property
    def scale(self) -> float:
        """The largest of ``SCALES`` at which random styles leave the class what it is."""
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
        """The share of probing draws whose nearest plain class is the one that was asked for."""
        classes = len(self.entries)
        right = 0
        for probe in range(PROBES):
            vector = self.draw(
                int(numpy_rng(self.sources.seed, "random style", probe).integers(2**62)), scale
            )
            right += (
                int((self.class_head @ self.at(probe % classes, vector)).argmax())
                == probe % classes
            )
        return right / PROBES

    def facts(self) -> dict[str, Any]:
        """How far the vectors are spread."""
        return {"random_style_scale": self.scale}


class Contrastive(Pseudo):
    """Contrastive-Prompt: M styles that learn to differ from each other and to leave the class
    alone.
    """

    def target(self, job: Job) -> Target:
        """``u(E_txt[class in the style of v_i])``, i uniform."""
        style = int(_rng(job).integers(len(self.vectors)))
        feature = self.at(job.class_id, self.vectors[style])
        return Target(feature, self._named(job.class_id, f"{{style {style}}}"), style)

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
        return learn(self.lesson, self.start, self.settings, self.settings.category_weight)

    def facts(self) -> dict[str, Any]:
        """How far apart the styles are and how well they keep the class, before and after."""
        found = {
            name: statistics(self.lesson, v)
            for name, v in (("before", self.start), ("after", self.vectors))
        }
        return {"styles": len(self.vectors), "style_learning": found}


class Learned(Contrastive):
    """System E's style dictionary: starts from real words, learns with the instance term alone."""

    @cached_property
    def start(self) -> Tensor:
        """The token embeddings of the first ``count`` words."""
        return word_vectors(self.teacher, self.words[: self.settings.count])

    @cached_property
    def vectors(self) -> Tensor:
        """``(N, d)`` after learning."""
        return infonce(self.lesson, self.start, self.settings, 0.0)


class Prototypes(Fixed):
    """Images instead of words: the class is what its shots have in common."""

    def target(self, job: Job) -> Target:
        """The prototype of the class."""
        keys = tuple(self.sources.keys[row] for row in self.sources.members[job.class_id])
        return Target(self.class_head[job.class_id], None, None, keys)

    @cached_property
    def class_head(self) -> Tensor:
        """``(K, D)``: ``u(mean of u(E_img(x)))`` over the shots of each class."""
        empty = [
            str(row["name"])
            for row, own in zip(self.sources.classes, self.sources.members, strict=True)
            if not len(own)
        ]
        if empty:
            raise ConfigError(
                "prototypes need images of every class",
                got=f"no shot of {', '.join(empty[:5])}",
                remedy="give shots, or set generate.prompts.kind to one that works from names",
            )
        shots = [
            runtime.geometry(Image.fromarray(np.asarray(x)), self.teacher.spec)
            for x in self.sources.shots
        ]
        features = torch.from_numpy(self.teacher.encode_images(np.stack(shots)))
        means = torch.stack(
            [features[torch.from_numpy(rows)].mean(0) for rows in self.sources.members]
        )
        return functional.normalize(means, dim=-1).to(self.teacher.device)


# generate.prompts.kind -> where targets come from. To add one: a class and a row.
PROMPT_TARGETS: dict[str, Callable[[PromptSettings, Sources, Teacher], PromptTarget]] = {
    "fixed": Fixed,
    "mix": Mix,
    "random": Random,
    "contrastive": Contrastive,
    "words": Words,
    "learned": Learned,
    "prototypes": Prototypes,
}


def prompt_target(settings: PromptSettings, sources: Sources, teacher: Teacher) -> PromptTarget:
    """The prompt targets by name.

    Raises:
        ConfigError: no such kind (with the nearest name).
    """
    if settings.kind not in PROMPT_TARGETS:
        raise ConfigError(
            "unknown prompt target",
            got=repr(settings.kind),
            remedy=nearest(settings.kind, PROMPT_TARGETS),
        )
    return PROMPT_TARGETS[settings.kind](settings, sources, teacher)


def styled(template: str, word: str, entry: ClassInfo) -> str:
    """A prompt of a class in a style: ``template`` with ``{style}`` filled, or ``word`` itself if
    it has a ``{}``.

    ``SLOT`` as the word leaves the place open. "a(n) {style}" gets its article.

    Raises:
        ConfigError: a template without ``{style}``, or one that cannot be filled.
    """
    if "{}" in word:
        return prompts_for([entry], [word])[0][0]
    if template.count(SLOT) != 1:
        raise ConfigError(
            "a style template needs the style once", got=repr(template), expected=f"one {SLOT}"
        )
    check_templates([template.replace(SLOT, "style")])
    article = "a " + SLOT if word == SLOT else fill("a(n) {}", ClassInfo(word, word, None))
    marked = template.replace(f"a(n) {SLOT}", _MARK * 2).replace(SLOT, _MARK)
    text = prompts_for([entry], [marked])[0][0]
    return text.replace(_MARK * 2, str(article)).replace(_MARK, word)


def _rng(job: Job) -> np.random.Generator:
    return numpy_rng(job.seed, "style")
