"""The images of a run that the teacher can label: the real shots and the synthetic images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.data.artifact import DataArtifact
from compress.engine.stage import StageContext
from compress.generate.artifact import GenerateArtifact
from compress.label.artifact import PoolKind


@dataclass(frozen=True)
class ImagePool:
    """Images of one kind.

    Attributes:
        kind: "real" or "synthetic".
        images: ``(N, C, C, 3)`` uint8, memory-mapped.
        classes: ``(N,)`` class of each image.
        views: V, views per image.
    """

    kind: PoolKind
    images: NDArray[np.uint8]
    classes: NDArray[np.int64]
    views: int

    def shards(self, batch: int) -> Iterator[tuple[int, int]]:
        """Ranges of images whose views make about one batch."""
        step = max(1, batch // self.views)
        for start in range(0, len(self.images), step):
            yield start, min(start + step, len(self.images))


def read_pools(ctx: StageContext) -> tuple[ImagePool, ImagePool]:
    """The real shots and the synthetic images of a run, with their numbers of views."""
    shots = DataArtifact(ctx.inputs["data"].path).shots
    synthetic = GenerateArtifact(ctx.inputs["generate"].path)
    views = ctx.settings.label.views
    count = len(synthetic.images)
    real_views = ctx.settings.label.real_views or balanced_views(len(shots), count, views)
    return (
        ImagePool("real", shots.pixels, shots.labels, real_views),
        ImagePool("synthetic", synthetic.images, synthetic.classes, views),
    )


def balanced_views(real: int, synthetic: int, views: int) -> int:
    """Views per shot so that both pools have about as many views; at least ``views``."""
    return max(views, -(-synthetic * views // real)) if real else views
