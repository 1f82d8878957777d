"""Images for decisions about quantization: views of training images that no training has seen.

The test split takes no part in any choice. A view is an augmentation by one seed
(``compress/data/augment.py``); these seeds are derived under a name of their own, so the pixels are
new although the images are known. Half of the views are of real shots, half of synthetic images,
where a run has both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.data.augment import ViewRecipe, render_view
from compress.engine.errors import DataError
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.label.artifact import LabelArtifact
from compress.label.pools import read_pools


@dataclass(frozen=True)
class HeldOutViews:
    """Views ``(n, S, S, 3)``, the classes of their images, and pool -> number of its views."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    counts: Mapping[str, int]


def held_out_views(ctx: StageContext, count: int) -> HeldOutViews:
    """``count`` views, the same for the same run (its data, generate and label stages).

    Raises:
        DataError: the run has neither shots nor synthetic images, or the count is not positive.
    """
    recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
    real, synthetic = read_pools(ctx)
    kept = np.flatnonzero(LabelArtifact(ctx.inputs["label"].path).keep)
    rows_of = [(real, np.arange(len(real.images))), (synthetic, kept)]
    pools = [(pool, rows) for pool, rows in rows_of if len(rows)]
    if not pools or count < len(pools):
        got = f"{count} views of {len(pools)} kinds of images"
        raise DataError("no images to judge quantization on", got=got)
    pixels = []
    labels = []
    counts = {}
    for position, (pool, rows) in enumerate(pools):
        share = count // len(pools) + (position < count % len(pools))
        counts[str(pool.kind)] = share
        for image, view in spread(rows, share):
            seed = derive(ctx.seed, "sensitivity", pool.kind, image, view)
            pixels.append(render_view(np.asarray(pool.images[image]), recipe, seed))
            labels.append(int(pool.classes[image]))
    return HeldOutViews(np.stack(pixels), np.asarray(labels, np.int64), counts)


def spread(rows: NDArray[np.int64], count: int) -> list[tuple[int, int]]:
    """``count`` pairs (image, view), spread evenly over ``rows``; second views after all first."""
    out: list[tuple[int, int]] = []
    for view in range(-(-count // len(rows))):
        left = min(len(rows), count - len(out))
        places = np.unique(np.linspace(0, len(rows) - 1, left).astype(int))
        out += [(int(rows[at]), view) for at in places]
    return out
