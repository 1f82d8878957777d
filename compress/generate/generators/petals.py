"""The generator of the embedded world behind ``base.Generator``: arrays in, arrays out, shots of
any size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import runtime
from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.seeds import numpy_rng
from compress.generate.base import draw_embedded
from compress.generate.generators.pipelines import checked_embeds
from compress.generate.generators.table import IMAGE, TEXT, Place
from compress.petals.generator import PetalsGenerator
from compress.petals.nets import MEAN, STD
from compress.petals.weights import WEIGHTS

NOISE_STEPS, COSINE_OFFSET = (
    1000,
    0.008,
)  # of the cosine schedule, as published (arXiv 2102.09672) and as in unCLIP


class Petals:
    """The embedded generator. It works on unit vectors and normalizes a mix itself, in ``decode``.

    Args:
        generator: the networks.
        name: as asked for.
        license: of the weights.
    """

    takes = TEXT | IMAGE

    def __init__(
        self, generator: PetalsGenerator, name: str = "petals", license: str = "unknown"
    ) -> None:
        self.generator, self.name, self.license = generator, name, license
        self.image_size, self.embed_dim = generator.image_size, generator.embed_dim

    def fingerprint(self) -> str:
        """Identifies its weights and its arithmetic."""
        return self.generator.fingerprint()

    def embed_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Square images ``(N, C, C, 3)`` of any edge -> unit embeddings ``(N, E)``."""
        edge = self.image_size
        spec = runtime.PreprocessSpec(
            size=edge, resize=edge, interpolation="bicubic", mean=MEAN, std=STD
        )
        small = [runtime.geometry(Image.fromarray(np.asarray(image)), spec) for image in images]
        return self.generator.embed_images(np.stack(small)).numpy()

    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """One draw of its prior per text and seed, ``(N, E)`` unit rows."""
        return self.generator.embed_texts(list(texts), seeds).numpy()

    def decode(
        self,
        embeds: NDArray[np.float32],
        seeds: Sequence[int],
        steps: int,
        guidance_scale: float,
        noise_level: int = 0,
    ) -> NDArray[np.uint8]:
        """``(N, E)`` -> ``(N, 32, 32, 3)``; ``noise_level`` 0..999 as in `noised`.

        Raises:
            ConfigError: embeddings of another width.
        """
        wanted = noised(checked_embeds(embeds, self.embed_dim, self.name), seeds, noise_level)
        return self.generator.decode(torch.from_numpy(wanted), seeds, steps, guidance_scale)

    def draw(
        self, texts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> NDArray[np.uint8]:
        """Texts -> ``(N, 32, 32, 3)``, through its prior."""
        return draw_embedded(self, texts, seeds, steps, guidance_scale)


def noised(embeds: NDArray[np.float32], seeds: Sequence[int], level: int) -> NDArray[np.float32]:
    """Unit embeddings ``(N, E)`` noised to step ``level`` of a cosine schedule, row i from its own
    seed; 0 = as they are.

    ``unscale(sqrt(a) * scale(e) + sqrt(1 - a) * noise)``, where scaling multiplies by sqrt(E): the
    entries of a unit vector have a deviation of about 1/sqrt(E). The decoder normalizes the result.
    """
    if not level:
        return embeds
    kept, width = _kept_signal(level), embeds.shape[1]
    noise = np.stack(
        [numpy_rng(seed, "noise_level").standard_normal(width, np.float32) for seed in seeds]
    )
    made: NDArray[np.float32] = (
        math.sqrt(kept) * embeds + math.sqrt((1 - kept) / width) * noise
    ).astype(np.float32)
    return made


def _kept_signal(level: int) -> float:
    """The cumulative product of alphas after step ``level`` of the cosine schedule, in (0, 1)."""

    def signal(time: float) -> float:
        return math.cos((time + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2

    return signal((level + 1) / NOISE_STEPS) / signal(0)


def load(settings: GenerateSettings, device: str, offline: bool, place: Place) -> Petals:
    """The embedded generator, or one trained the same way from its folder.

    Raises:
        ConfigError: raw text embeddings are asked for; its decoder only knows image embeddings.
        DataError: its weights are missing.
    """
    if not settings.text_via_prior:
        raise ConfigError(
            "generator petals decodes image embeddings only", got="generate.text_via_prior=false"
        )
    folder = Path(place.parts[0]) if place.parts else WEIGHTS
    return Petals(PetalsGenerator(folder, device=device), settings.generator, place.license)
