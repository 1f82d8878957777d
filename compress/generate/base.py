"""What a generator and a strategy are, and how a generator's name is resolved.

A generator's name is one of

    kandinsky-2.2          the published Kandinsky 2.2 (prior and decoder, downloaded once)
    PRIOR+DECODER          two hub ids or folders of the same kind
    path/to/folder         a folder with the pipelines ``prior/`` and ``decoder/`` as diffusers saves them
    petals                 the small generator of the embedded world
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compress.config import GenerateSettings
from compress.errors import ConfigError, nearest
from compress.stages import resolve


class Generator(Protocol):
    """Image embedding in, image out; images and texts are embedded into the space that it decodes."""

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
        self, embeds: NDArray[np.float32], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> NDArray[np.uint8]:
        """Embeddings ``(N, E)`` -> images ``(N, S, S, 3)``; image i depends on its embedding and its seed alone."""


@dataclass(frozen=True)
class Job:
    """One image to be made.

    Attributes:
        index: its row in synthetic.npy.
        class_id: the class it is made for.
        number: j, counting the images of that class.
        seed: ``derive(run seed, "generate", class_id, j)``: everything random about the image follows from it.
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

    def line(self) -> str:
        """The record as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass
class Sources:
    """What a strategy may look at: the class names and the run's own shots, nothing else.

    Attributes:
        classes: rows of classes.json.
        shots: ``(n, C, C, 3)`` uint8.
        labels: ``(n,)``.
        keys: the name of each shot, as it goes into the records.
        seed: the run's seed.
    """

    classes: Sequence[Mapping[str, Any]]
    shots: NDArray[np.uint8]
    labels: NDArray[np.int64]
    keys: Sequence[str]
    seed: int

    @cached_property
    def members(self) -> list[NDArray[np.int64]]:
        """For each class the rows of its shots."""
        return [np.flatnonzero(self.labels == class_id) for class_id in range(len(self.classes))]


@dataclass
class Made:
    """What a strategy returns for its jobs: images ``(B, S, S, 3)``, conditions ``(B, E)``, one record each."""

    images: NDArray[np.uint8]
    conditions: NDArray[np.float32]
    records: list[SynthRecord] = field(default_factory=list)


class Strategy(Protocol):
    """What to generate."""

    def per_class(self) -> int:
        """Images per class."""

    def make(self, jobs: Sequence[Job], generator: Generator) -> Made:
        """Makes the images of the jobs."""

    def facts(self) -> dict[str, Any]:
        """What the report should say about it."""


Loader = Callable[[GenerateSettings, str, bool], Generator]  # (settings, device, offline)

# Names -> loaders; imported when used, so that planning loads neither torch nor diffusers.
GENERATORS = {
    "petals": "compress.generate.petals:load",
    "kandinsky-2.2": "compress.generate.kandinsky:load_published",
}
# The decoder's class in its model_index.json -> loader of a (prior, decoder) pair.
PIPELINES = {"KandinskyV22Pipeline": "compress.generate.kandinsky:load_pair"}


def load_generator(settings: GenerateSettings, device: str = "cpu", *, offline: bool = False) -> Generator:
    """Loads the generator that ``settings.generator`` names (see the head of this file).

    Raises:
        ConfigError: no such generator or folder, or a folder of another kind.
        DownloadError: the weights are neither in the local cache nor reachable.
        MissingExtraError: diffusers is not installed.
    """
    name = settings.generator
    made: Generator
    if name in GENERATORS:
        made = resolve(GENERATORS[name])(settings, device, offline)
    else:
        prior, decoder = locate(name)
        made = resolve(PIPELINES[pipeline_class(decoder)])(settings, device, offline, prior, decoder)
    return made


def locate(name: str) -> tuple[str, str]:
    """The prior and the decoder (folders or hub ids) that a generator's name stands for.

    Raises:
        ConfigError: neither a known name, nor a folder with both, nor PRIOR+DECODER.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        pair = folder / "prior", folder / "decoder"
        missing = [str(part) for part in pair if not (part / "model_index.json").is_file()]
        if missing:
            raise ConfigError(
                "the generator's folder lacks a pipeline", got=f"no model_index.json in {', '.join(missing)}",
                expected="subfolders prior/ and decoder/ as diffusers' save_pretrained writes them",
            )  # fmt: skip
        return str(pair[0]), str(pair[1])
    prior, plus, decoder = name.partition("+")
    if not plus or not prior or not decoder:
        raise ConfigError(
            "unknown generator", got=repr(name), expected="a folder with prior/ and decoder/, or PRIOR+DECODER",
            remedy=nearest(name, GENERATORS),
        )  # fmt: skip
    return prior, decoder


def pipeline_class(decoder: str) -> str:
    """The decoder's pipeline class; a hub id is taken to be Kandinsky 2.2 until it is loaded.

    Raises:
        ConfigError: a local pipeline of a kind without an adapter.
    """
    index = Path(decoder).expanduser() / "model_index.json"
    if not index.is_file():
        return next(iter(PIPELINES))
    found = json.loads(index.read_text()).get("_class_name")
    if found not in PIPELINES:
        raise ConfigError("no adapter for this generator", got=f"{index}: {found}", expected=" or ".join(PIPELINES))
    return str(found)
