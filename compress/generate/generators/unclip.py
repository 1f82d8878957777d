"""Stable Diffusion 2.1 unCLIP (diffusers): a CLIP image embedding in, images out.

What diffusers' pipeline does with an embedding:

1. the embedding is the vision tower's ``image_embeds``, un-normalized: OpenCLIP ViT-H (1024) for
   ``stable-diffusion-2-1-unclip``, ViT-L/14 (768) for its ``-small`` variant;
2. it is standardized with a stored mean and deviation, noised to step ``noise_level`` of its own
   schedule, and scaled back; level 0 is the schedule's first step, so it adds a little noise too;
3. the UNet's class label is that embedding beside a sinusoidal code of the noise level: 2 E wide;
4. the unconditional branch of guidance has zeros for all of it, and the prompt is empty;
5. the autoencoder never sees the source image: the latents start from noise.

Every image has a noise generator of its own, for the embedding's noise first and then the latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.generate.generators.generator import IMAGE, Sampling
from compress.generate.generators.pipelines import PipelineGenerator, encode_images

PROMPT = ""  # the library's default: the embedding alone says what is in the image


class UnClip(PipelineGenerator):
    """A ``StableUnCLIPImg2ImgPipeline``; nothing in it leads from a text to an image embedding.

    Raises:
        ConfigError: a height that its autoencoder cannot make, or parts of different widths.
    """

    takes = IMAGE

    def __init__(
        self, pipelines: Sequence[Any], settings: GenerateSettings, license: str = "unknown"
    ) -> None:
        super().__init__(pipelines, settings, license)
        self.embed_dim = int(self.pipeline.image_encoder.config.projection_dim)
        label = self.pipeline.unet.config.projection_class_embeddings_input_dim
        mean = self.pipeline.image_normalizer.mean.shape[1]
        if label != 2 * self.embed_dim or mean != self.embed_dim:
            raise ConfigError(
                f"the parts of generator {self.name} do not belong together",
                got=f"image encoder {self.embed_dim}, normalizer {mean}, class label {label}",
                expected="E, E and 2 E",
            )

    def embed_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, C, C, 3)`` uint8 -> raw ``image_embeds`` ``(N, E)``."""
        return encode_images(self.pipeline.feature_extractor, self.pipeline.image_encoder, images)

    def decode(
        self, embeds: NDArray[np.float32], seeds: Sequence[int], sampling: Sampling
    ) -> NDArray[np.uint8]:
        """``(N, E)`` -> ``(N, S, S, 3)`` uint8, with noise as in the file's head."""
        return self.sample(
            seeds,
            sampling,
            prompt=[PROMPT] * len(embeds),
            image_embeds=self.conditions(embeds),
            noise_level=sampling.noise_level,
        )
