"""A teacher: a frozen network that maps images to unit vectors, and perhaps texts too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import runtime
from compress.data.geometry import fit_geometry
from compress.engine.hub import fingerprint_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(kw_only=True)
class Teacher(ABC):
    """The image half that all teachers share.

    Attributes:
        name: as the settings give it.
        model: the network, in eval mode and frozen.
        spec: the geometry and normalization of its images.
        precision: "fp32", or "bf16" for mixed precision; outputs are float32 either way.
        license: of the weights, as ``revision`` is.
    """

    name: str
    model: Any  # nn.Module, whose attributes mypy cannot know
    spec: runtime.PreprocessSpec
    device: str = "cpu"
    precision: str = "fp32"
    license: str = "unknown"
    revision: str = "unknown"

    def __post_init__(self) -> None:
        self.model.to(self.device).eval().requires_grad_(False)

    @property
    @abstractmethod
    def embed_dim(self) -> int:
        """The width D of its space."""

    @property
    @abstractmethod
    def logit_scale(self) -> float:
        """The scale of its cosines."""

    @property
    @abstractmethod
    def image_tower(self) -> nn.Module:
        """The image half as a module: ``(B, 3, S, S)`` normalized -> ``(B, D)``, not unit rows."""

    def expect(self, images: int) -> None:
        """Makes a faster way ready if it pays for so many images; the same number, the same way."""
        del images  # torch alone

    @property
    def params(self) -> int:
        """Parameters of the network."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def image_params(self) -> int:
        """Parameters of the image half."""
        return sum(p.numel() for p in self.image_tower.parameters())

    def encode_images(self, images: NDArray[np.uint8], batch: int = 256) -> NDArray[np.float32]:
        """Unit features ``(N, D)`` of uint8 images ``(N, H, W, 3)``.

        Images of another size than the teacher's are brought to its geometry.
        """
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"teacher images must be (N, H, W, 3), got {images.shape}")
        out = np.empty((len(images), self.embed_dim), np.float32)
        for start in range(0, len(images), batch):
            rows = fit_geometry(np.asarray(images[start : start + batch]), self.spec)
            out[start : start + batch] = self.unit_rows(runtime.normalize(rows, self.spec))
        return out

    def encode_views(self, views: Mapping[int, NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit features ``(N, D)`` of images by their size S, ``(N, S, S, 3)``: of its own size's.

        Images of one other size are brought to its geometry.
        """
        own = views.get(self.spec.size)
        return self.encode_images(next(iter(views.values())) if own is None else own)

    def unit_rows(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit features ``(B, D)`` of normalized images ``(B, 3, S, S)``."""
        import torch

        with torch.inference_mode():
            features = self.unit_features(torch.from_numpy(pixels).to(self.device))
        rows: NDArray[np.float32] = features.cpu().numpy()
        return rows

    def embed_pixels(self, images: Tensor, *, mixed: bool = False) -> Tensor:
        """Unit features ``(B, D)`` of images ``(B, 3, S, S)`` in [0, 1], with gradients to them.

        Images of another size are resized to the tower's (antialiased bilinear). ``mixed`` runs in
        bf16 even where the teacher's own precision is fp32; the features are float32. Images go to
        the tower in channels-last memory, where convolutions are faster.
        """
        import torch

        if images.shape[-1] != self.spec.size:
            edges = (self.spec.size, self.spec.size)
            images = torch.nn.functional.interpolate(images, edges, mode="bilinear", antialias=True)
        mean = images.new_tensor(self.spec.mean)[:, None, None]
        std = images.new_tensor(self.spec.std)[:, None, None]
        pixels = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        return self.unit_features(pixels, mixed)

    def fingerprint(self) -> str:
        """SHA-256 over every tensor of the network."""
        return fingerprint_tensors(dict(self.model.state_dict()))

    @abstractmethod
    def unit_features(self, pixels: Tensor, mixed: bool = False) -> Tensor:
        """Unit features ``(B, D)`` float32 of normalized images ``(B, 3, S, S)``."""
