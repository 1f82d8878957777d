"""Stable Diffusion 2.1 (diffusers): text in, images out; it has no image embeddings.

The safety checker is whatever the saved pipeline has; the 2.1 weights come without one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.generate.generators.pipelines import (
    edge_of,
    fingerprint_pipelines,
    load_pipeline,
    run_pipeline,
)
from compress.generate.generators.table import GeneratorWeights
from compress.generate.protocols import TEXT


class StableDiffusion:
    """The generator.

    Args:
        pipeline: a loaded ``StableDiffusionPipeline``.
        settings: ``generator`` (its name), ``height``.
        license: of the weights.

    Raises:
        ConfigError: a height that its autoencoder cannot make.
    """

    takes = TEXT
    embed_dim = 0

    def __init__(self, pipeline: Any, settings: GenerateSettings, license: str = "unknown") -> None:
        self.pipeline, self.name, self.license = pipeline, settings.generator, license
        self.image_size = edge_of(pipeline, settings)

    def fingerprint(self) -> str:
        """SHA-256 over the tensors of every network."""
        return fingerprint_pipelines(pipeline=self.pipeline)

    def draw(
        self, texts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> NDArray[np.uint8]:
        """``(N, S, S, 3)`` uint8; the unconditional branch of guidance is the empty prompt."""
        return run_pipeline(
            self.pipeline, self.image_size, seeds, steps, guidance_scale, prompt=list(texts)
        )

    def _refuse(self, *inputs: object, **named: object) -> Any:
        raise ConfigError(
            f"generator {self.name} takes text only",
            remedy="use its unCLIP sibling, or kandinsky-2.2",
        )

    # Its text encoding is a sequence, not a point of an image space.
    embed_images = embed_texts = decode = _refuse


def load(
    settings: GenerateSettings, device: str, offline: bool, weights: GeneratorWeights
) -> StableDiffusion:
    """A Stable Diffusion from a hub id or a folder.

    Raises:
        DownloadError: neither on disk nor reachable.
        ConfigError: an unknown scheduler or a size that does not fit.
        MissingExtraError: diffusers is not installed.
    """
    (where,) = weights.parts
    pipeline = load_pipeline(settings, device, offline, where, "StableDiffusionPipeline")
    return StableDiffusion(pipeline, settings, weights.license)
