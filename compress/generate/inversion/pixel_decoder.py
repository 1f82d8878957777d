"""The decoder ``pixels``: no network, the image itself as a pyramid of logits.

    image = sigmoid(sum over levels of the level, enlarged),   levels of 4, 8, 16, ... S pixels

Adam moves every entry of every level by about the same amount, so changes that many pixels share,
which coarse levels hold, come first: a smooth prior without a network, and its only one. Its images
please the teacher more than the eye; they serve comparisons and builds without weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from compress.engine.config import GenerateSettings
from compress.engine.seeds import torch_rng
from compress.generate.inversion.decoder import DecoderWeights

COARSEST = 4  # pixels
START = 0.3  # standard deviation of the first logits
BOUND = 4.0  # of a logit: sigmoid is flat beyond


class Pixels:
    """The decoder; latents are ``(N, 3 * sum of squared levels)``."""

    name = "pixels"
    license = "none"

    def __init__(self, image_size: int, device: str = "cpu") -> None:
        self.image_size = image_size
        self.device = device
        self.levels = [COARSEST]
        while self.levels[-1] < image_size:
            self.levels.append(min(2 * self.levels[-1], image_size))
        self.sizes = [3 * level * level for level in self.levels]

    def fingerprint(self) -> str:
        """Its name and geometry; it has no weights."""
        return f"pixels {self.levels}"

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Normal noise on every level."""
        rows = [torch.randn(sum(self.sizes), generator=torch_rng(seed, "pixels")) for seed in seeds]
        return START * torch.stack(rows).to(self.device)

    def render(self, latents: Tensor) -> Tensor:
        """``(N, 3, S, S)`` in (0, 1)."""
        edge = (self.image_size, self.image_size)
        total = latents.new_zeros(len(latents), 3, *edge)
        for level, part in zip(self.levels, latents.split(self.sizes, dim=1), strict=True):
            part = part.view(-1, 3, level, level)
            total = total + functional.interpolate(part, edge, mode="bilinear", align_corners=False)
        return total.sigmoid()

    @torch.no_grad()
    def clip_(self, latents: Tensor) -> None:
        """To where the sigmoid still has a slope."""
        latents.clamp_(-BOUND, BOUND)


def load(weights: DecoderWeights, settings: GenerateSettings, device: str, offline: bool) -> Pixels:
    """Nothing to load."""
    return Pixels(settings.inversion.image_size, device)
