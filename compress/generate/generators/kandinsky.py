"""Kandinsky 2.2 (diffusers): a prior into the image space of CLIP ViT-bigG, a decoder out of it.

In diffusers a text becomes an image embedding through the *prior*, an image through the prior
pipeline's own CLIP vision tower, both un-normalized; the unconditional branch of guidance is the
image embedding of an all-zero image. Every image has noise generators of its own, so it depends on
its seed and not on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.generate.generators.pipelines import (
    checked_edge,
    checked_embeds,
    encode_images,
    fingerprint_pipelines,
    load_pipelines,
    noise_generators,
    run_pipeline,
    set_scheduler,
    to_numpy,
)
from compress.generate.generators.weights import GeneratorWeights
from compress.generate.protocols import IMAGE, TEXT, draw_embedded

PRIOR_GUIDANCE = 4.0  # the library's default, as in its interpolate()
# The decoder pipeline passes a generator to step() and never calls scale_model_input(): only these
# schedulers fit.
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler")
LEARNED_VARIANCE = ("DDPMScheduler",)


class Kandinsky:
    """A ``KandinskyV22PriorPipeline`` and a ``KandinskyV22Pipeline``.

    Raises:
        ConfigError: a height that its autoencoder cannot make.
    """

    takes = TEXT | IMAGE

    def __init__(
        self, prior: Any, decoder: Any, settings: GenerateSettings, license: str = "unknown"
    ) -> None:
        self.prior = prior
        self.decoder = decoder
        self.settings = settings
        self.name = settings.generator
        self.license = license
        self.embed_dim = int(prior.image_encoder.config.projection_dim)
        # the pipeline silently rounds other sizes up
        self.image_size = checked_edge(settings.height or 512, decoder.movq_scale_factor**2)

    @classmethod
    def load(
        cls, settings: GenerateSettings, device: str, offline: bool, weights: GeneratorWeights
    ) -> Kandinsky:
        """A prior and a decoder, each a hub id or a folder; raises as `load_generator`."""
        prior, decoder = weights.parts
        by_hand = (
            f"put {prior} and {decoder} into FOLDER/prior and FOLDER/decoder (as diffusers' "
            "save_pretrained writes them) and say --generator FOLDER, or go without with "
            "--set generate.strategy=none"
        )
        kinds = {prior: "KandinskyV22PriorPipeline", decoder: "KandinskyV22Pipeline"}
        loaded = load_pipelines(settings, device, offline, kinds, by_hand)
        # The UNet also predicts a variance. Only DDPM uses it; other schedulers must not inherit
        # ``variance_type``, or the pipeline hands them both halves and DPM-Solver++ cuts a channel.
        drop = () if settings.scheduler in LEARNED_VARIANCE else ("variance_type",)
        set_scheduler(loaded[1], settings.scheduler, SCHEDULERS, drop)
        return cls(loaded[0], loaded[1], settings, weights.license)

    def fingerprint(self) -> str:
        """SHA-256 over the tensors of every network."""
        return fingerprint_pipelines(prior=self.prior, decoder=self.decoder)

    def embed_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, C, C, 3)`` uint8 -> raw ``image_embeds`` ``(N, E)``."""
        return encode_images(self.prior.image_processor, self.prior.image_encoder, images)

    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """``(N, E)``: one sample of the prior per text and seed, or the raw text embeddings."""
        return TEXT_ROUTES[self.settings.text_via_prior](self, list(texts), seeds)

    def decode(
        self,
        embeds: NDArray[np.float32],
        seeds: Sequence[int],
        steps: int,
        guidance_scale: float,
        noise_level: int = 0,
    ) -> NDArray[np.uint8]:
        """``(N, E)`` -> ``(N, S, S, 3)`` uint8.

        Raises:
            ConfigError: embeddings of another width, or a noise level: it was not trained on noised
                embeddings.
        """
        import torch

        if noise_level:
            raise ConfigError(
                f"generator {self.name} cannot add noise to an image embedding",
                got=f"noise_level={noise_level}",
                expected=0,
            )
        unet = self.decoder.unet
        checked = torch.from_numpy(checked_embeds(embeds, self.embed_dim, self.name))
        with torch.inference_mode():
            zero = self.prior.get_zero_embed(len(checked)).to(unet.device, unet.dtype)
        return run_pipeline(
            self.decoder,
            self.image_size,
            seeds,
            steps,
            guidance_scale,
            image_embeds=checked.to(unet.device, unet.dtype),
            negative_image_embeds=zero,
        )

    def draw(
        self, texts: Sequence[str], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> NDArray[np.uint8]:
        """Texts -> ``(N, S, S, 3)`` uint8, through the prior."""
        return draw_embedded(self, texts, seeds, steps, guidance_scale)

    def _sample_prior(self, texts: list[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        output = self.prior(
            texts,
            num_inference_steps=self.settings.prior_steps,
            guidance_scale=PRIOR_GUIDANCE,
            generator=noise_generators(seeds),
        )
        return to_numpy(output.image_embeds)

    def _raw_text(self, texts: list[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        import torch

        tokenizer = self.prior.tokenizer
        encoder = self.prior.text_encoder
        tokens = tokenizer(
            texts,
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            return to_numpy(encoder(tokens.input_ids.to(encoder.device)).text_embeds)


# generate.text_via_prior -> how a text becomes an embedding.
TEXT_ROUTES: dict[bool, Callable[[Kandinsky, list[str], Sequence[int]], NDArray[np.float32]]] = {
    True: Kandinsky._sample_prior,
    False: Kandinsky._raw_text,
}
