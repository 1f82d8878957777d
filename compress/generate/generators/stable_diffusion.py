"""Stable Diffusion 2.1 (diffusers): text in, images out; for strategies that need no image
embedding.

The safety checker is whatever the saved pipeline says; the 2.1 weights come without one.
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
    generators,
    load_pipeline,
    to_uint8,
)
from compress.generate.generators.table import TEXT, Place


class StableDiffusion:
    """The generator; see the head of this file and ``base.Generator``.

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
        return fingerprint_pipelines({"pipeline": self.pipeline})

    def embed_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Refused: it has no image embeddings."""
        raise self._text_only()

    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """Refused: its text encoding is a sequence, no point of an image space."""
        raise self._text_only()

    def decode(
        self,
        embeds: NDArray[np.float32],
        seeds: Sequence[int],
        steps: int,
        guidance_scale: float,
        noise_level: int = 0,
    ) -> NDArray[np.uint8]:
        """Refused: it has no image embeddings."""
        raise self._text_only()

    def draw(
        self, texts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> NDArray[np.uint8]:
        """Texts -> ``(N, S, S, 3)`` uint8; the unconditional branch of guidance is the empty
        prompt.
        """
        made = self.pipeline(
            list(texts),
            height=self.image_size,
            width=self.image_size,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=generators(seeds),
            output_type="np",
        )
        return to_uint8(made.images)

    def _text_only(self) -> ConfigError:
        return ConfigError(
            f"generator {self.name} takes text only",
            remedy="use its unCLIP sibling, or kandinsky-2.2",
        )


def load(settings: GenerateSettings, device: str, offline: bool, place: Place) -> StableDiffusion:
    """A Stable Diffusion from a hub id or a folder.

    Raises:
        DownloadError: neither on disk nor reachable.
        ConfigError: an unknown scheduler or a size that does not fit.
        MissingExtraError: diffusers is not installed.
    """
    (where,) = place.parts
    return StableDiffusion(
        load_pipeline(settings, device, offline, where, "StableDiffusionPipeline"),
        settings,
        place.license,
    )
