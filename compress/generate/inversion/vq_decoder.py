"""Decoders that are diffusers VQModels: codebook and decoder of a VQGAN.

Start, quantization, clamp and bounds are those of VQGAN-CLIP's code (nerdyrodent/VQGAN-CLIP).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from compress.engine.arithmetic import bf16_pays
from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, MissingExtraError
from compress.engine.hub import fingerprint_tensors, hub, not_available
from compress.engine.seeds import torch_rng
from compress.generate.inversion.decoder import BY_HAND, DecoderWeights, require_whole_codes
from compress.teacher.weights import require_finite

ROWS = 4096  # latent positions compared with the codebook at once: 268 MB for 16,384 codes


class ReplaceGradient(torch.autograd.Function):
    """The first argument forwards, the gradient to the second: exactly straight through."""

    @staticmethod
    def forward(ctx: FunctionCtx, shown: Tensor, moved: Tensor) -> Tensor:  # type: ignore[override]
        return shown.view_as(shown)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
        return None, gradient


class ClampWithGradient(torch.autograd.Function):
    """Clamp to [0, 1]; the gradient passes inside, and outside where descent leads back in."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(values)
        return values.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (values,) = ctx.saved_tensors
        kept: Tensor = gradient * (gradient * (values - values.clamp(0, 1)) >= 0)
        return kept


class VqDecoder:
    """A frozen VQModel; latents are ``(N, E, S/f, S/f)``.

    The network runs in bf16 where that is faster, the latents and the codebook stay float32.

    Raises:
        ConfigError: an image size that is no multiple of f.
    """

    def __init__(
        self, model: Any, image_size: int, name: str, license: str = "unknown", device: str = "cpu"
    ) -> None:
        self.name = name
        self.license = license
        self.image_size = image_size
        self.device = torch.device(device)
        self.factor = require_whole_codes(name, image_size, len(model.config.block_out_channels))
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.codebook: Tensor = model.quantize.embedding.weight.detach().float()
        self.mixed = bf16_pays(self.device)

    def fingerprint(self) -> str:
        """Digest of its weights and of everything else that decides its pixels."""
        weights = fingerprint_tensors(dict(self.model.state_dict()))
        identity = f"{weights} {self.image_size} {self.mixed} {self.device.type}"
        return hashlib.sha256(identity.encode()).hexdigest()

    def start(self, seeds: Sequence[int]) -> Tensor:
        """A random codebook row at every position."""
        shape = (self.image_size // self.factor,) * 2
        codes = len(self.codebook)
        drawn = [torch.randint(codes, shape, generator=torch_rng(seed, "vq")) for seed in seeds]
        return self.codebook[torch.stack(drawn).to(self.device)].permute(0, 3, 1, 2).contiguous()

    def quantize(self, latents: Tensor) -> Tensor:
        """The nearest codebook row at every position; the gradient goes straight through."""
        flat = latents.detach().permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
        codes = torch.cat([torch.cdist(part, self.codebook).argmin(1) for part in flat.split(ROWS)])
        batch, _, height, width = latents.shape
        nearest = self.codebook[codes].view(batch, height, width, -1).permute(0, 3, 1, 2)
        shown: Tensor = ReplaceGradient.apply(nearest.contiguous(), latents)
        return shown

    def render(self, latents: Tensor) -> Tensor:
        """``(N, 3, S, S)`` in [0, 1]."""
        codes = self.quantize(latents)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            decoded = self.model.decode(codes, force_not_quantize=True).sample
        images: Tensor = ClampWithGradient.apply((decoded.float() + 1) / 2)
        return images

    @torch.no_grad()
    def clip_(self, latents: Tensor) -> None:
        """To the codebook's least and largest value, channel by channel."""
        bounds = self.codebook[..., None, None]
        latents.copy_(latents.maximum(bounds.amin(0)).minimum(bounds.amax(0)))


def load(
    weights: DecoderWeights, settings: GenerateSettings, device: str, offline: bool
) -> VqDecoder:
    """A VQModel from a folder or from the hub; safetensors only. Raises as `load_decoder`."""
    try:
        from diffusers import VQModel
    except ImportError as error:
        remedy = "pip install 'clip2edge[build]'"
        raise MissingExtraError("a decoder needs diffusers", remedy=remedy) from error
    name = settings.inversion.decoder
    options: dict[str, Any] = {"torch_dtype": torch.float32, "use_safetensors": True}
    if weights.folder:
        try:
            model = VQModel.from_pretrained(weights.folder, **options)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                "the decoder cannot be loaded",
                got=f"{weights.folder}: {str(error).splitlines()[0]}",
                expected="a diffusers VQModel whose weights fit its config.json",
            ) from error
    else:
        with hub(offline) as online:
            options |= {"subfolder": weights.subfolder, "local_files_only": not online}
            try:
                model = VQModel.from_pretrained(weights.repository, **options)
            except (OSError, ValueError) as error:
                raise not_available(f"decoder {name}", error, place=BY_HAND) from error
    require_finite(model.state_dict(), f"decoder {name}")
    return VqDecoder(model, settings.inversion.image_size, name, weights.license, device)
