"""What a generator, a decoder and a strategy are, and what goes between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.seeds import derive
from compress.generate.shot_embeds import ShotEmbeds

if TYPE_CHECKING:
    import torch

    from compress.teacher.clip import Teacher

Input = Literal["text", "image"]


class Generator(Protocol):
    """Texts or image embeddings in, images out.

    ``takes`` says which of the two it understands: strategies that need the other one are refused
        before any work.
    """

    @property
    def takes(self) -> frozenset[Input]:
        """``"text"``: `draw` works; ``"image"``: `embed_images` and `decode` work."""

    @property
    def name(self) -> str:
        """As asked for."""

    @property
    def image_size(self) -> int:
        """Edge of the images it makes, in pixels."""

    @property
    def embed_dim(self) -> int:
        """Width E of its embeddings."""

    @property
    def license(self) -> str:
        """Of its weights."""

    def fingerprint(self) -> str:
        """Identifies its weights."""

    def embed_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Square images ``(N, C, C, 3)`` of any edge -> raw embeddings ``(N, E)``."""

    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """Texts -> raw embeddings ``(N, E)``; with a stochastic prior one draw per seed."""

    def decode(
        self,
        embeds: NDArray[np.float32],
        seeds: Sequence[int],
        steps: int,
        guidance_scale: float,
        noise_level: int = 0,
    ) -> NDArray[np.uint8]:
        """Embeddings ``(N, E)`` -> images ``(N, S, S, 3)``; image i depends on its embedding and
        its seed alone.

        ``noise_level`` 0..999 is how much noise the embedding gets first (unCLIP); larger is more
        diverse.
        """

    def draw(
        self, texts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> NDArray[np.uint8]:
        """Texts -> images ``(N, S, S, 3)``; image i depends on its text and its seed alone."""


class Decoder(Protocol):
    """Latents in, images out, with gradients: what images are optimized through (methods.md
    C.2).
    """

    @property
    def name(self) -> str:
        """As asked for."""

    @property
    def license(self) -> str:
        """Of its weights."""

    @property
    def image_size(self) -> int:
        """Edge of the images it makes, in pixels."""

    def fingerprint(self) -> str:
        """Identifies its weights."""

    def start(self, seeds: Sequence[int]) -> torch.Tensor:
        """First latents ``(N, ...)``, row i from its own seed."""

    def render(self, latents: torch.Tensor) -> torch.Tensor:
        """Images ``(N, 3, S, S)`` in [0, 1] with gradients to the latents (straight through where
        it quantizes).
        """

    def clip_(self, latents: torch.Tensor) -> None:
        """Moves latents back into their bounds, in place."""


@dataclass(frozen=True)
class Job:
    """One image to be made.

    Attributes:
        index: its row in synthetic.npy.
        class_id: the class it is made for.
        number: j, counting the images of that class.
        seed: ``derive(run seed, "generate", class_id, j)``: everything random about the image
            follows from it.
    """

    index: int
    class_id: int
    number: int
    seed: int


@dataclass(frozen=True)
class SynthRecord:
    """One line of synthetic.jsonl: how an image came to be (methods.md 0.2)."""

    path: str
    class_id: int
    method: str
    prompt: str | None
    style_id: int | None
    source_ids: tuple[str, ...]
    weights: tuple[float, ...]
    seed: int
    generator_id: str
    noise_level: int | None
    cond_embedding_ref: str | None
    loss: tuple[float, float] | None = (
        None  # of an optimized image: at its first step and at its last
    )

    def line(self) -> str:
        """The record as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)


def _no_teacher() -> Teacher:
    raise ConfigError("this strategy was given no teacher")


@dataclass
class Sources:
    """What a strategy may look at: the class names and the run's own shots, nothing else.

    Attributes:
        classes: rows of classes.json.
        shots: ``(n, C, C, 3)`` uint8.
        labels: ``(n,)``.
        keys: the name of each shot, as it goes into the records.
        seed: the run's seed.
        teacher: loads the run's teacher when called, once.
        templates: the prompt templates of the run's teacher.
        cache: where the generator's embeddings of the shots are kept; None keeps them in memory.
    """

    classes: Sequence[Mapping[str, Any]]
    shots: NDArray[np.uint8]
    labels: NDArray[np.int64]
    keys: Sequence[str]
    seed: int
    teacher: Callable[[], Teacher] = _no_teacher
    templates: Sequence[str] = ()
    cache: Path | None = None

    @cached_property
    def members(self) -> list[NDArray[np.int64]]:
        """For each class the rows of its shots."""
        return [np.flatnonzero(self.labels == class_id) for class_id in range(len(self.classes))]

    @cached_property
    def shot_embeds(self) -> ShotEmbeds:
        """The generator's embeddings of the shots, for all strategies."""
        return ShotEmbeds(self.shots, self.cache)


@dataclass
class Made:
    """What a strategy returns for its jobs: images ``(B, S, S, 3)``, conditions ``(B, E)``, one
    record each.

    Strategies that decode no embedding return conditions of width 0.
    """

    images: NDArray[np.uint8]
    conditions: NDArray[np.float32]
    records: list[SynthRecord] = field(default_factory=list)


class Strategy(Protocol):
    """What to generate: a class built as ``Strategy(settings, sources)``.

    Attributes:
        tool: what its `make` is handed: a generator or a decoder.
        needs: what the generator has to take.
        asks_teacher: whether the teacher takes part, so that it belongs to the identity of the
            images.
    """

    tool: ClassVar[Literal["generator", "decoder"]]
    needs: ClassVar[frozenset[Input]]
    asks_teacher: ClassVar[bool]

    def per_class(self) -> int:
        """Images per class."""

    def make(self, jobs: Sequence[Job], tool: Any) -> Made:
        """Makes the images of the jobs with a `Generator` or a `Decoder`."""

    def facts(self) -> dict[str, Any]:
        """What the report should say about it."""


def wanted_per_class(settings: GenerateSettings, sources: Sources) -> int:
    """Images per class: ``per_class``, or ``synth_ratio`` times the mean number of real images of a
    class.
    """
    if settings.synth_ratio is None:
        return settings.per_class
    return round(settings.synth_ratio * len(sources.labels) / max(1, len(sources.classes)))


def wants_images(settings: GenerateSettings) -> bool:
    """Whether these settings ask for any image at all."""
    wanted = settings.per_class if settings.synth_ratio is None else settings.synth_ratio
    return settings.strategy != "none" and wanted > 0


def draw_embedded(
    generator: Generator,
    texts: Sequence[str],
    seeds: Sequence[int],
    steps: int,
    guidance_scale: float,
) -> NDArray[np.uint8]:
    """`Generator.draw` of a generator that turns texts into image embeddings and decodes those."""
    embeds = generator.embed_texts(texts, [derive(seed, "prior") for seed in seeds])
    return generator.decode(
        embeds, [derive(seed, "decode") for seed in seeds], steps, guidance_scale
    )
