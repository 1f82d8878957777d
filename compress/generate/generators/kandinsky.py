"""Kandinsky 2.2 (diffusers): a prior into the image space of CLIP ViT-bigG, a decoder out of it.

In diffusers a text becomes an image embedding through the *prior*, an image through the prior
pipeline's own CLIP vision tower, both un-normalized; the unconditional branch of guidance is the
image embedding of an all-zero image. Every image has noise generators of its own, so it depends on
its seed and not on its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.generate.generators.generator import BOTH, Sampling
from compress.generate.generators.pipelines import (
    PipelineGenerator,
    encode_images,
    noise_generators,
    to_numpy,
)

PRIOR_GUIDANCE = 4.0  # the library's default, as in its interpolate()


class Kandinsky(PipelineGenerator):
    """A ``KandinskyV22PriorPipeline`` and a ``KandinskyV22Pipeline``."""

    takes = BOTH
    sides = ("prior", "decoder")
    # Its decoder passes a generator to step() and never calls scale_model_input().
    schedulers = ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler")

    def __init__(
        self, pipelines: Sequence[Any], settings: GenerateSettings, license: str = "unknown"
    ) -> None:
        super().__init__(pipelines, settings, license)
        self.prior = pipelines[0]
        self.embed_dim = int(self.prior.image_encoder.config.projection_dim)

    def edges(self) -> tuple[int, int]:
        """512, and the factor of its autoencoder; the pipeline silently rounds other sizes up."""
        return 512, self.pipeline.movq_scale_factor**2

    def embed_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, C, C, 3)`` uint8 -> raw ``image_embeds`` ``(N, E)``."""
        return encode_images(self.prior.image_processor, self.prior.image_encoder, images)

    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """``(N, E)``: one sample of the prior per text and seed, or the raw text embeddings."""
        if self.settings.text_via_prior:
            output = self.prior(
                list(texts),
                num_inference_steps=self.settings.prior_steps,
                guidance_scale=PRIOR_GUIDANCE,
                generator=noise_generators(seeds),
            )
            return to_numpy(output.image_embeds)
        import torch

        tokenizer = self.prior.tokenizer
        encoder = self.prior.text_encoder
        tokens = tokenizer(
            list(texts),
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            return to_numpy(encoder(tokens.input_ids.to(encoder.device)).text_embeds)

    def decode(
        self, embeds: NDArray[np.float32], seeds: Sequence[int], sampling: Sampling
    ) -> NDArray[np.uint8]:
        """``(N, E)`` -> ``(N, S, S, 3)`` uint8; it was not trained on noised embeddings."""
        import torch

        if sampling.noise_level:
            raise ConfigError(
                f"generator {self.name} cannot add noise to an image embedding",
                got=f"noise_level={sampling.noise_level}",
                expected=0,
            )
        conditions = self.conditions(embeds)
        with torch.inference_mode():
            zero = self.prior.get_zero_embed(len(conditions)).to(conditions)
        return self.sample(seeds, sampling, image_embeds=conditions, negative_image_embeds=zero)
