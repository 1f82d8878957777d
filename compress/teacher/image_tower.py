"""The image half of a CLIP as a module of its own, for export."""

from __future__ import annotations

from typing import Any

import torch


class ImageTower(torch.nn.Module):
    """``(B, 3, S, S)`` normalized images -> ``(B, D)`` embeddings before L2 normalization."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.clip_visual = model.visual

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The pooled embedding; CoCa's tower adds its tokens, which are dropped."""
        features = self.clip_visual(images)
        pooled: torch.Tensor = features[0] if isinstance(features, tuple) else features
        return pooled
