"""The images of a run that the teacher can label: the real shots and the synthetic images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.data.artifact import DataArtifact
from compress.data.augment import views_each
from compress.engine.stage import StageContext
from compress.generate.artifact import GenerateArtifact
from compress.label.artifact import PoolKind


@dataclass(frozen=True)
class ImagePool:
    """Memory-mapped images ``(N, C, C, 3)`` of one kind, their classes ``(N,)``, views of each."""

    kind: PoolKind
    images: NDArray[np.uint8]
    classes: NDArray[np.int64]
    views: int

    def shards(self, batch: int) -> list[range]:
        """Ranges of images whose views make about one batch."""
        count = len(self.images)
        step = max(1, batch // self.views)
        return [range(start, min(start + step, count)) for start in range(0, count, step)]


def read_pools(ctx: StageContext) -> tuple[ImagePool, ImagePool]:
    """The real shots and the synthetic images of a run, with their numbers of views."""
    settings = ctx.settings.label
    shots = DataArtifact(ctx.inputs["data"].path).shots
    synthetic = GenerateArtifact(ctx.inputs["generate"].path)
    balanced = balanced_views(len(shots), len(synthetic.images), settings.views)
    real = views_each(len(shots), settings.real_views or balanced, *settings.limits)
    return (
        ImagePool("real", shots.pixels, shots.labels, real),
        ImagePool("synthetic", synthetic.images, synthetic.classes, settings.views),
    )


def balanced_views(real: int, synthetic: int, views: int) -> int:
    """Views per shot so that both pools have about as many views; at least ``views``."""
    return max(views, -(-synthetic * views // real)) if real else views
