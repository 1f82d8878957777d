"""A CLIP teacher: any open_clip model, which maps texts into the space of its images.

Teachers with a sigmoid loss (SigLIP) are used like all others, ``z = scale * cos``: their bias is
the same for every class and cancels under a softmax over classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.teacher.teacher import Teacher

if TYPE_CHECKING:
    from torch import Tensor

    from compress.teacher.image_tower import ImageTower


@dataclass(kw_only=True)
class ClipTeacher(Teacher):
    """A frozen CLIP: images and texts to unit vectors of one space.

    Attributes:
        tokenize: texts -> ``(N, L)`` token ids.
    """

    tokenize: Callable[[Sequence[str]], Tensor]

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

    def unit_features(self, pixels: Tensor, mixed: bool = False) -> Tensor:
        """Unit features ``(B, D)`` float32 of normalized images ``(B, 3, S, S)``."""
        return self._unit(self.model.encode_image, pixels, mixed)

    def _unit(
        self, encode: Callable[[Tensor], Tensor], batch: Tensor, mixed: bool = False
    ) -> Tensor:
        import torch

        enabled = mixed or self.precision == "bf16"
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=enabled):
            embeddings = encode(batch)
        return torch.nn.functional.normalize(embeddings.float(), dim=-1)
