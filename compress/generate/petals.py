"""The generator of the embedded world behind ``base.Generator``: arrays in, arrays out, shots of any size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import runtime
from compress.config import GenerateSettings
from compress.embedded.generator import PetalsGenerator
from compress.embedded.nets import MEAN, STD
from compress.errors import ConfigError


class Petals:
    """The embedded generator. It works on unit vectors and normalises a mix itself, in ``decode``."""

    license = "Apache-2.0"

    def __init__(self, generator: PetalsGenerator) -> None:
        self.generator = generator
        self.name, self.image_size, self.embed_dim = generator.name, generator.image_size, generator.embed_dim

    def fingerprint(self) -> str:
        """Identifies its weights and its arithmetic."""
        return self.generator.fingerprint()

    def embed_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Square images ``(N, C, C, 3)`` of any edge -> unit embeddings ``(N, E)``."""
        edge = self.image_size
        spec = runtime.PreprocessSpec(size=edge, resize=edge, interpolation="bicubic", mean=MEAN, std=STD)
        small = [runtime.geometry(Image.fromarray(np.asarray(image)), spec) for image in images]
        return self.generator.embed_images(np.stack(small)).numpy()

    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """One draw of its prior per text and seed, ``(N, E)`` unit rows."""
        return self.generator.embed_texts(list(texts), seeds).numpy()

    def decode(
        self, embeds: NDArray[np.float32], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> NDArray[np.uint8]:
        """``(N, E)`` -> ``(N, 32, 32, 3)``."""
        return self.generator.decode(torch.from_numpy(embeds), seeds, steps, guidance_scale)


def load(settings: GenerateSettings, device: str, offline: bool) -> Petals:
    """The embedded generator.

    Raises:
        ConfigError: raw text embeddings are asked for; its decoder only knows image embeddings.
        DataError: its weights are missing.
    """
    if not settings.text_via_prior:
        raise ConfigError("generator petals decodes image embeddings only", got="generate.text_via_prior=false")
    return Petals(PetalsGenerator(device=device))
