"""Several teachers as one: each sees the images at its own size, and their answers are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import runtime
from compress.teacher.artifact import unit
from compress.teacher.teacher import Teacher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PIXELS = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # mean and std of images in [0, 1]


class Towers(nn.Module):
    """``(B, 3, S, S)`` images in [0, 1] -> the members' embeddings side by side ``(B, D1 + ...)``.

    Every member standardizes them by its own mean and deviation, at its own size.
    """

    def __init__(self, members: Sequence[Teacher]) -> None:
        super().__init__()
        self.towers = nn.ModuleList(member.image_tower for member in members)
        self.sizes = [member.spec.size for member in members]
        for index, member in enumerate(members):
            for name, values in (("mean", member.spec.mean), ("std", member.spec.std)):
                buffer = torch.tensor(values, dtype=torch.float32)[:, None, None]
                self.register_buffer(f"{name}{index}", buffer, persistent=False)

    def seen_by(self, index: int, images: Tensor) -> Tensor:
        """The images as a member takes them."""
        size = self.sizes[index]
        if images.shape[-1] != size:
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        seen: Tensor = (images - getattr(self, f"mean{index}")) / getattr(self, f"std{index}")
        return seen

    def forward(self, images: Tensor) -> Tensor:
        embedded = [tower(self.seen_by(i, images)) for i, tower in enumerate(self.towers)]
        return torch.cat([F.normalize(part, dim=-1) for part in embedded], dim=-1)


@dataclass(kw_only=True)
class Ensemble(Teacher):
    """Teachers side by side; a feature is their unit features, joined and scaled to unit length.

    Attributes:
        members: at least two.
    """

    members: tuple[Teacher, ...]

    @classmethod
    def of(cls, members: Sequence[Teacher]) -> Ensemble:
        """The ensemble; its images have the size of its largest member's."""
        largest = max(members, key=lambda member: member.spec.size)
        mean, std = PIXELS
        spec = runtime.PreprocessSpec(
            largest.spec.size, largest.spec.resize, largest.spec.interpolation, mean, std
        )
        return cls(
            name=" + ".join(member.name for member in members),
            model=Towers(members),
            spec=spec,
            device=members[0].device,
            precision=members[0].precision,
            license=" + ".join(dict.fromkeys(member.license for member in members)),
            revision=" + ".join(member.revision for member in members),
            members=tuple(members),
        )

    @cached_property
    def embed_dim(self) -> int:
        """The width of all features side by side."""
        return sum(member.embed_dim for member in self.members)

    @property
    def logit_scale(self) -> float:
        """The mean of the members' scales."""
        return float(np.mean([member.logit_scale for member in self.members]))

    @property
    def image_tower(self) -> nn.Module:
        """All towers."""
        tower: nn.Module = self.model
        return tower

    def expect(self, images: int) -> None:
        """Lets every member make its faster way ready."""
        for member in self.members:
            member.expect(images)

    def encode_images(self, images: NDArray[np.uint8], batch: int = 256) -> NDArray[np.float32]:
        """Unit features ``(N, D)`` of uint8 images ``(N, H, W, 3)``.

        Every member sees images of another size than the ensemble's as it would see them alone.
        """
        if images.shape[1:3] == (self.spec.size,) * 2:
            return super().encode_images(images, batch)
        return unit(np.concatenate([m.encode_images(images, batch) for m in self.members], axis=1))

    def encode_views(self, views: Mapping[int, NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit features ``(N, D)``; of images at several sizes every member sees those of its own.

        Images of one size are those of `encode_images`.
        """
        if len(views) == 1:
            return super().encode_views(views)
        return unit(np.concatenate([one.encode_views(views) for one in self.members], axis=1))

    def unit_rows(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit features ``(B, D)`` of images ``(B, 3, S, S)`` in [0, 1]."""
        images = torch.from_numpy(pixels).to(self.device)
        parts = []
        for index, member in enumerate(self.members):
            with torch.inference_mode():
                seen = self.model.seen_by(index, images).contiguous().cpu().numpy()
            parts.append(member.unit_rows(seen))
        return unit(np.concatenate(parts, axis=1))

    def unit_features(self, pixels: Tensor, mixed: bool = False) -> Tensor:
        """Unit rows ``(B, D)``, every member's part as long as the others."""
        enabled = mixed or self.precision == "bf16"
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=enabled):
            joined = self.model(pixels)
        return F.normalize(joined.float(), dim=-1)
