"""The decoder ``pixels``: no network, the image itself as a pyramid of logits.

    image = sigmoid(sum over levels of the level, enlarged),   levels of 4, 8, 16, ... S pixels

Adam moves every entry of every level by about the same amount, so that what many pixels agree on,
which is what coarse
levels hold, moves fastest: a smooth prior without a network. It has no other: its images please the
    teacher more than the
eye, and are there for comparison and for builds without weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from compress.engine.config import GenerateSettings
from compress.engine.seeds import torch_rng
from compress.generate.inversion.decoders import Place

COARSEST = 4  # pixels
START = 0.3  # standard deviation of the first logits
BOUND = 4.0  # of a logit: sigmoid is flat beyond


class Pixels:
    """See the head of this file; latents are ``(N, 3 * sum of squared levels)``."""

    name, license = "pixels", "none"

    def __init__(self, image_size: int, device: str = "cpu") -> None:
        self.image_size, self.device = image_size, device
        self.levels = [COARSEST]
        while self.levels[-1] < image_size:
            self.levels.append(min(2 * self.levels[-1], image_size))
        self.ends = [0]
        for level in self.levels:
            self.ends.append(self.ends[-1] + 3 * level * level)

    def fingerprint(self) -> str:
        """Its name and geometry are all there is."""
        return f"pixels {self.levels}"

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Normal noise on every level."""
        rows = [torch.randn(self.ends[-1], generator=torch_rng(seed, "pixels")) for seed in seeds]
        return START * torch.stack(rows).to(self.device)

    def render(self, latents: Tensor) -> Tensor:
        """``(N, 3, S, S)`` in (0, 1)."""
        total = latents.new_zeros(len(latents), 3, self.image_size, self.image_size)
        for level, (first, last) in zip(self.levels, pairwise(self.ends), strict=True):
            part = latents[:, first:last].view(-1, 3, level, level)
            total = total + functional.interpolate(
                part, (self.image_size,) * 2, mode="bilinear", align_corners=False
            )
        return total.sigmoid()

    @torch.no_grad()
    def clip_(self, latents: Tensor) -> None:
        """To where sigmoid still has a slope."""
        latents.clamp_(-BOUND, BOUND)


def load(place: Place, settings: GenerateSettings, device: str, offline: bool) -> Pixels:
    """Nothing to load."""
    return Pixels(settings.inversion.image_size, device)
