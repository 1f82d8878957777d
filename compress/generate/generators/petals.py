"""The generator of the embedded world as a `Generator`: arrays in, arrays out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from compress.data.geometry import fit_geometry
from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, require_known
from compress.engine.seeds import numpy_rng
from compress.generate.generators.generator import BOTH, Generator, GeneratorWeights, Sampling
from compress.generate.generators.guidance import is_guided
from compress.petals.weights import WEIGHTS
from runtime import Geometry

if TYPE_CHECKING:
    from compress.petals.generator import PetalsGenerator

# The cosine schedule of arXiv 2102.09672, as in unCLIP.
NOISE_STEPS = 1000
COSINE_OFFSET = 0.008


class Petals(Generator):
    """The embedded generator; it works on unit vectors and normalizes a mix in `decode`."""

    takes = BOTH
    schedulers = ("DDIMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler")

    def __init__(
        self, generator: PetalsGenerator, name: str = "petals", license: str = "unknown"
    ) -> None:
        self.generator = generator
        self.name = name
        self.license = license
        self.image_size = generator.image_size
        self.embed_dim = generator.embed_dim

    @classmethod
    def load(
        cls, settings: GenerateSettings, device: str, offline: bool, weights: GeneratorWeights
    ) -> Petals:
        """The embedded generator, or another one of its kind from a folder.

        Raises:
            ConfigError: raw text embeddings are asked for.
            DataError: its weights are missing.
        """
        from compress.petals.generator import PetalsGenerator  # slow to import

        cls.check(settings)
        folder = Path(weights.parts[0]) if weights.parts else WEIGHTS
        generator = PetalsGenerator(folder, device=device, scheduler=settings.scheduler)
        return cls(generator, settings.generator, weights.license)

    @classmethod
    def check(cls, settings: GenerateSettings) -> None:
        """Refuses raw text embeddings, and a scheduler that it cannot use."""
        if settings.scheduler is not None:
            what = "this generator cannot use the scheduler"
            require_known(settings.scheduler, cls.schedulers, what)
        if not settings.text_via_prior:
            got = "generate.text_via_prior=false"
            raise ConfigError("generator petals decodes image embeddings only", got=got)

    def fingerprint(self) -> str:
        """Identifies its weights and its arithmetic."""
        return self.generator.fingerprint()

    def embed_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Square images ``(N, C, C, 3)`` of any edge -> unit embeddings ``(N, E)``."""
        own = Geometry(self.image_size, self.image_size, "bicubic")
        copy = np.array(fit_geometry(images, own))  # shots are a read-only memory map
        return self.generator.embed_images(copy).numpy()

    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """One sample of its prior per text and seed, ``(N, E)`` unit rows."""
        return self.generator.embed_texts(list(texts), seeds).numpy()

    def decode(
        self, embeds: NDArray[np.float32], seeds: Sequence[int], sampling: Sampling
    ) -> NDArray[np.uint8]:
        """``(N, E)`` -> ``(N, 32, 32, 3)``, with noise as in `noised`."""
        noisy = torch.from_numpy(noised(self.checked(embeds), seeds, sampling.noise_level))
        steps = sampling.steps
        guided = partial(is_guided, steps=steps, interval=sampling.interval)
        return self.generator.decode(noisy, seeds, steps, sampling.guidance_scale, guided)


def noised(embeds: NDArray[np.float32], seeds: Sequence[int], level: int) -> NDArray[np.float32]:
    """Unit embeddings ``(N, E)`` noised to step ``level`` of a cosine schedule; 0: unchanged.

    ``unscale(sqrt(a) * scale(e) + sqrt(1 - a) * noise)``, where scaling multiplies by sqrt(E): the
    entries of a unit vector have a deviation of about 1/sqrt(E). The decoder normalizes the result.
    Row i follows its own seed.
    """
    if not level:
        return embeds

    def signal(time: float) -> float:
        return math.cos((time + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2

    kept = signal((level + 1) / NOISE_STEPS) / signal(0)  # the cumulative product of alphas
    width = embeds.shape[1]
    noise = np.stack(
        [numpy_rng(seed, "noise_level").standard_normal(width, np.float32) for seed in seeds]
    )
    noisy = math.sqrt(kept) * embeds + math.sqrt((1 - kept) / width) * noise
    return noisy.astype(np.float32)
