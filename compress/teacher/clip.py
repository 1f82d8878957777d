"""A CLIP teacher: any open_clip model behind one small shape.

Teachers with a sigmoid loss (SigLIP) are used like all others, ``z = scale * cos``: their bias is
the same for every class and cancels under a softmax over classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import runtime
from compress.engine.hub import fingerprint_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from compress.teacher.image_tower import ImageTower


@dataclass
class Teacher:
    """A frozen CLIP: images and texts to unit vectors of one space.

    Attributes:
        model: the open_clip model, in eval mode and frozen.
        tokenize: texts -> ``(N, L)`` token ids.
        spec: the geometry and normalization of its images.
        precision: "fp32", or "bf16" for mixed precision; outputs are float32 either way.
        license: of the weights, as ``revision`` is.
    """

    name: str
    model: Any  # nn.Module, whose attributes mypy cannot know
    tokenize: Callable[[Sequence[str]], Tensor]
    spec: runtime.PreprocessSpec
    device: str = "cpu"
    precision: str = "fp32"
    license: str = "unknown"
    revision: str = "unknown"

    def __post_init__(self) -> None:
        self.model.to(self.device).eval().requires_grad_(False)

    @property
    def params(self) -> int:
        """Parameters of both towers."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def image_params(self) -> int:
        """Parameters of the image tower, projection included."""
        return sum(p.numel() for p in self.model.visual.parameters())

    @property
    def logit_scale(self) -> float:
        """The scale of its cosines, ``exp`` of the learned parameter."""
        return float(self.model.logit_scale.detach().float().exp())

    @cached_property
    def embed_dim(self) -> int:
        """The width D of the shared space."""
        return int(self.encode_texts([""]).shape[1])

    @cached_property
    def image_tower(self) -> ImageTower:
        """The image half as a module, without L2 normalization."""
        from compress.teacher.image_tower import ImageTower

        return ImageTower(self.model).eval()

    def encode_images(self, images: NDArray[np.uint8], batch: int = 256) -> NDArray[np.float32]:
        """Unit features ``(N, D)`` of uint8 images ``(N, S, S, 3)`` in the teacher's geometry."""
        import torch

        edge = self.spec.size
        if images.ndim != 4 or images.shape[1:] != (edge, edge, 3):
            raise ValueError(f"teacher images must be (N, {edge}, {edge}, 3), got {images.shape}")
        out = np.empty((len(images), self.embed_dim), np.float32)
        for start in range(0, len(images), batch):
            rows = np.asarray(images[start : start + batch])
            pixels = torch.from_numpy(runtime.normalize(rows, self.spec)).to(self.device)
            with torch.inference_mode():
                out[start : start + batch] = (
                    self._unit(self.model.encode_image, pixels).cpu().numpy()
                )
        return out

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
        return self._unit(self.model.encode_image, pixels, mixed)

    def encode_texts(self, texts: Sequence[str], batch: int = 256) -> NDArray[np.float32]:
        """Unit features ``(N, D)`` of texts."""
        import torch

        parts = []
        for start in range(0, len(texts), batch):
            tokens = self.tokenize(list(texts[start : start + batch])).to(self.device)
            with torch.inference_mode():
                parts.append(self._unit(self.model.encode_text, tokens).cpu().numpy())
        return np.concatenate(parts)

    def class_head(self, prompts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """The text head ``(K, D)``: per class the normalized mean of its prompts' unit features."""
        flat = self.encode_texts([prompt for row in prompts for prompt in row])
        ends = np.cumsum([len(row) for row in prompts])
        means = np.stack([part.mean(axis=0) for part in np.split(flat, ends[:-1])])
        head: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return head

    def fingerprint(self) -> str:
        """SHA-256 over every tensor of the model."""
        return fingerprint_tensors(dict(self.model.state_dict()))

    def _unit(
        self, encode: Callable[[Tensor], Tensor], batch: Tensor, mixed: bool = False
    ) -> Tensor:
        import torch

        enabled = mixed or self.precision == "bf16"
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=enabled):
            embeddings = encode(batch)
        return torch.nn.functional.normalize(embeddings.float(), dim=-1)
