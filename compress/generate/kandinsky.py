"""Kandinsky 2.2 (diffusers): a CLIP ViT-bigG image space, a diffusion prior into it and a decoder out of it.

Semantics of the library that matter here: a text becomes an image embedding through the *prior*, an image through the
prior pipeline's own CLIP vision tower, both un-normalised; the unconditional branch of guidance is the image embedding
of an all-zero image. Every image has generators of its own, so it depends on its seed and not on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.config import GenerateSettings
from compress.errors import ConfigError, MissingExtraError, nearest
from compress.hub import fingerprint_tensors, hub, not_available

if TYPE_CHECKING:
    import torch

PUBLISHED = ("kandinsky-community/kandinsky-2-2-prior", "kandinsky-community/kandinsky-2-2-decoder")
LICENSE = "Apache-2.0"  # of the published weights
PRIOR_GUIDANCE = 4.0  # the library's default, as in its interpolate()
# The decoder pipeline passes a generator to step() and never calls scale_model_input(): only these schedulers fit.
SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler")
LEARNED_VARIANCE = ("DDPMScheduler",)


class Kandinsky:
    """The generator; see the head of this file and ``base.Generator``.

    Args:
        prior: a loaded ``KandinskyV22PriorPipeline``.
        decoder: a loaded ``KandinskyV22Pipeline``.
        settings: ``height``, ``prior_steps``, ``text_via_prior``, ``batch``.
        name: as asked for.
    """

    license = LICENSE

    def __init__(self, prior: Any, decoder: Any, settings: GenerateSettings, name: str) -> None:
        self.prior, self.decoder, self.settings, self.name = prior, decoder, settings, name
        for pipeline in (prior, decoder):
            pipeline.set_progress_bar_config(disable=True)
        self.embed_dim = int(prior.image_encoder.config.projection_dim)
        factor = decoder.movq_scale_factor**2  # the pipeline rounds other sizes up without saying so
        self.image_size = settings.height or 512
        if self.image_size % factor:
            raise ConfigError(
                "generate.height does not fit the generator", got=self.image_size, expected=f"a multiple of {factor}"
            )

    def fingerprint(self) -> str:
        """SHA-256 over the tensors of every network."""
        parts = {"prior": self.prior, "decoder": self.decoder}
        networks = {
            f"{side}.{key}": network
            for side, pipeline in parts.items()
            for key, network in pipeline.components.items()
            if hasattr(network, "state_dict")
        }
        tensors = {key: network.state_dict().items() for key, network in networks.items()}
        flat = {f"{key}.{name}": tensor for key, items in tensors.items() for name, tensor in items}
        return fingerprint_tensors(flat)

    def embed_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``(N, C, C, 3)`` uint8 -> raw ``image_embeds`` ``(N, E)``."""
        import torch

        if not len(images):
            return np.empty((0, self.embed_dim), np.float32)
        pictures = [Image.fromarray(np.asarray(image)) for image in images]
        pixels = self.prior.image_processor(pictures, return_tensors="pt").pixel_values
        encoder = self.prior.image_encoder
        with torch.inference_mode():
            made = encoder(pixels.to(encoder.device, encoder.dtype)).image_embeds
        return _numpy(made)

    def embed_texts(self, texts: Sequence[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        """One draw of the diffusion prior per text and seed; with ``text_via_prior=False`` the raw text embedding."""
        return TEXT_ROUTES[self.settings.text_via_prior](self, list(texts), seeds)

    def decode(
        self, embeds: NDArray[np.float32], seeds: Sequence[int], steps: int, guidance_scale: float
    ) -> NDArray[np.uint8]:
        """``(N, E)`` -> ``(N, S, S, 3)`` uint8."""
        import torch

        unet = self.decoder.unet
        wanted = torch.from_numpy(np.asarray(embeds, np.float32)).to(unet.device, unet.dtype)
        with torch.inference_mode():
            zero = self.prior.get_zero_embed(len(wanted)).to(unet.device, unet.dtype)
        images = self.decoder(
            image_embeds=wanted, negative_image_embeds=zero, height=self.image_size, width=self.image_size,
            num_inference_steps=steps, guidance_scale=guidance_scale, generator=_generators(seeds), output_type="np",
        ).images  # fmt: skip
        return (np.asarray(images) * 255).round().astype(np.uint8)

    def _draw_prior(self, texts: list[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        made = self.prior(
            texts, num_inference_steps=self.settings.prior_steps, guidance_scale=PRIOR_GUIDANCE,
            generator=_generators(seeds),
        )  # fmt: skip
        return _numpy(made.image_embeds)

    def _raw_text(self, texts: list[str], seeds: Sequence[int]) -> NDArray[np.float32]:
        import torch

        tokenizer, encoder = self.prior.tokenizer, self.prior.text_encoder
        tokens = tokenizer(
            texts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            return _numpy(encoder(tokens.input_ids.to(encoder.device)).text_embeds)


# text_via_prior -> how a text becomes an embedding.
TEXT_ROUTES: dict[bool, Callable[[Kandinsky, list[str], Sequence[int]], NDArray[np.float32]]] = {
    True: Kandinsky._draw_prior,
    False: Kandinsky._raw_text,
}


def load_published(settings: GenerateSettings, device: str, offline: bool) -> Kandinsky:
    """The published Kandinsky 2.2."""
    return load_pair(settings, device, offline, *PUBLISHED)


def load_pair(settings: GenerateSettings, device: str, offline: bool, prior: str, decoder: str) -> Kandinsky:
    """A prior and a decoder, each a hub id or a folder.

    Raises:
        DownloadError: neither on disk nor reachable.
        ConfigError: an unknown scheduler or a size that does not fit.
        MissingExtraError: diffusers is not installed.
    """
    try:
        from diffusers import KandinskyV22Pipeline, KandinskyV22PriorPipeline
    except ImportError as error:
        raise MissingExtraError("Kandinsky needs diffusers", remedy="pip install 'clip2edge[build]'") from error
    dtype = _dtype(settings.dtype)
    with hub(offline) as online:
        try:
            loaded = [
                kind.from_pretrained(where, torch_dtype=dtype, use_safetensors=True, local_files_only=not online)
                for kind, where in ((KandinskyV22PriorPipeline, prior), (KandinskyV22Pipeline, decoder))
            ]
        except (OSError, ValueError) as error:
            place = (
                f"put {prior} and {decoder} into FOLDER/prior and FOLDER/decoder (as diffusers' save_pretrained writes "
                "them) and say --generator FOLDER, or go without with --set generate.strategy=none"
            )
            raise not_available(f"generator {settings.generator}", error, place=place) from error
    set_scheduler(loaded[1], settings.scheduler)
    return Kandinsky(loaded[0].to(device), loaded[1].to(device), settings, settings.generator)


def set_scheduler(decoder: Any, name: str | None) -> None:
    """Replaces the decoder's scheduler by one of ``SCHEDULERS``, with the noise schedule it was trained with.

    Kandinsky's UNet also predicts a variance. Only DDPM uses it; the others must not inherit ``variance_type``, or the
    pipeline would hand them both halves (and DPM-Solver++ would cut a channel off).

    Raises:
        ConfigError: another name.
    """
    import diffusers

    if name is None:
        return
    if name not in SCHEDULERS:
        raise ConfigError("this generator cannot use the scheduler", got=repr(name), remedy=nearest(name, SCHEDULERS))
    config = {key: value for key, value in decoder.scheduler.config.items() if not key.startswith("_")}
    if name not in LEARNED_VARIANCE:
        config.pop("variance_type", None)
    decoder.register_modules(scheduler=getattr(diffusers, name).from_config(config))


def _generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator per image, on the CPU: the same noise on every device."""
    import torch

    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def _dtype(name: str) -> torch.dtype:
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[name]


def _numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return array
