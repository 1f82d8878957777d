"""What every generator is: texts or image embeddings in, images out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.seeds import derive

Input = Literal["text", "image"]
TEXT: frozenset[Input] = frozenset({"text"})
IMAGE: frozenset[Input] = frozenset({"image"})
BOTH = TEXT | IMAGE


@dataclass(frozen=True)
class GeneratorWeights:
    """Where a generator's weights are.

    Attributes:
        kind: a row of KINDS; None for a hub id whose model_index.json is not read yet.
        parts: folders or hub ids, in the order its loader expects; (): shipped with this package.
        license: of the weights, as far as known.
        pipelines: class of each part in diffusers; filled in from the row of the kind on loading.
    """

    kind: str | None
    parts: tuple[str, ...] = ()
    license: str = "unknown"
    pipelines: tuple[str, ...] = ()

    @property
    def by_hand(self) -> str:
        """How to place the weights on this disk."""
        target = "FOLDER/prior and FOLDER/decoder" if len(self.parts) > 1 else "FOLDER"
        return (
            f"put {' and '.join(self.parts)} into {target}, as diffusers saves pipelines, and say "
            "--generator FOLDER (or do without: --set generate.strategy=none)"
        )


@dataclass(frozen=True)
class Sampling:
    """How images are sampled.

    Attributes:
        noise_level: noise on the image embedding (unCLIP), 0..999; larger is more diverse.
        interval: of the steps that are guided, as shares of all, from the noise to the image.
    """

    steps: int
    guidance_scale: float
    noise_level: int = 0
    interval: tuple[float, float] = (0.0, 1.0)


class Generator(ABC):
    """Texts or image embeddings in, images out; a generator refuses what it does not take.

    Attributes:
        takes: "text": `draw` works; "image": `embed_images` and `decode` work.
        name: as in ``generate.generator``.
        license: of the weights.
        image_size: edge S of the generated images, in pixels.
        embed_dim: width E of the embeddings; 0: it has none.
    """

    takes: frozenset[Input]
    name: str
    license: str
    image_size: int
    embed_dim: int

    @abstractmethod
    def fingerprint(self) -> str:
        """Identifies the weights."""

    def embed_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Square images ``(N, C, C, 3)`` of any edge -> raw embeddings ``(N, E)``."""
        raise self._refusal()

    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """Texts -> raw embeddings ``(N, E)``; a stochastic prior is sampled once per seed."""
        raise self._refusal()

    def decode(
        self, embeds: NDArray[np.float32], seeds: Sequence[int], sampling: Sampling
    ) -> NDArray[np.uint8]:
        """Embeddings ``(N, E)`` -> images ``(N, S, S, 3)``; image i follows row i and its seed.

        Raises:
            ConfigError: embeddings of another width, or a noise level that it cannot add.
        """
        raise self._refusal()

    def draw(
        self, texts: Sequence[str], seeds: Sequence[int], sampling: Sampling
    ) -> NDArray[np.uint8]:
        """Texts -> images ``(N, S, S, 3)``; image i follows its text and its seed alone.

        Goes through `embed_texts` and `decode`, unless the generator draws from texts directly.
        """
        embeds = self.embed_texts(texts, [derive(seed, "prior") for seed in seeds])
        return self.decode(embeds, [derive(seed, "decode") for seed in seeds], sampling)

    def checked(self, embeds: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings ``(N, E)`` of its own width; a pipeline could broadcast others.

        Raises:
            ConfigError: another shape.
        """
        if embeds.ndim != 2 or embeds.shape[1] != self.embed_dim:
            raise ConfigError(
                f"these are no embeddings of generator {self.name}",
                got=f"shape {embeds.shape}",
                expected=f"(N, {self.embed_dim})",
                remedy="embeddings of ViT-L (768), ViT-H (1024) and ViT-bigG (1280) are of "
                "different spaces",
            )
        return np.asarray(embeds, np.float32)

    @classmethod
    def check(cls, settings: GenerateSettings) -> None:
        """Raises ConfigError for settings that it refuses; loads nothing."""
        return  # most refuse nothing

    def _refusal(self) -> ConfigError:
        return ConfigError(
            f"generator {self.name} takes {words(self.takes)} only",
            remedy="use another strategy, or a generator that takes both: kandinsky-2.2",
        )


def words(inputs: frozenset[Input]) -> str:
    """Inputs as errors name them."""
    names = {"text": "text", "image": "image embeddings"}
    return " and ".join(names[key] for key in sorted(inputs, reverse=True))
