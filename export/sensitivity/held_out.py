"""Images for decisions about quantization: training images in views that nothing has been trained
or calibrated on.

The test split takes no part in any choice. A view is an augmentation by one seed (``augment.py``);
these seeds are derived under a name of their own, so that the pixels are new although the pictures
are known. Half of the views are of real shots, half of synthetic images, where a run has both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.data.augment import ViewRecipe, render_view
from compress.engine.errors import DataError
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.label.artifact import LabelArtifact
from compress.label.pools import ImagePool, read_pools


@dataclass(frozen=True)
class HeldOut:
    """Views and the classes their images were made for.

    Attributes:
        pixels: ``(n, S, S, 3)`` uint8.
        labels: ``(n,)``.
        counts: pool -> how many views are from it.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    counts: dict[str, int]


def held_out_views(ctx: StageContext, count: int) -> HeldOut:
    """``count`` views, the same for the same run.

    Args:
        ctx: needs data, generate and label among its inputs.

    Raises:
        DataError: the run has neither shots nor synthetic images, or the count is not positive.
    """
    keep = LabelArtifact(ctx.inputs["label"].path).keep
    recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
    pools = [
        (pool, np.flatnonzero(keep) if pool.kind == "synthetic" else np.arange(len(pool.images)))
        for pool in read_pools(ctx)
    ]
    pools = [(pool, rows) for pool, rows in pools if len(rows)]
    if not pools or count < len(pools):
        raise DataError(
            "no images to judge quantization on",
            got=f"{count} views of {len(pools)} kinds of images",
        )
    shares = [
        count // len(pools) + (position < count % len(pools)) for position in range(len(pools))
    ]
    pixels, labels = [], []
    for (pool, rows), share in zip(pools, shares, strict=True):
        for image, view in drawn(rows, share):
            pixels.append(_view(ctx, pool, recipe, image, view))
            labels.append(int(pool.classes[image]))
    counts = {pool.kind: share for (pool, _), share in zip(pools, shares, strict=True)}
    return HeldOut(np.stack(pixels), np.asarray(labels, np.int64), counts)


def drawn(rows: NDArray[np.int64], count: int) -> list[tuple[int, int]]:
    """``count`` pairs (image, view): images spread evenly over ``rows``, further views only once
    all were taken.
    """
    out: list[tuple[int, int]] = []
    for view in range(-(-count // len(rows))):
        left = min(len(rows), count - len(out))
        spread = np.unique(np.linspace(0, len(rows) - 1, left).astype(int))
        out += [(int(rows[at]), view) for at in spread]
    return out


def _view(
    ctx: StageContext, pool: ImagePool, recipe: ViewRecipe, image: int, view: int
) -> NDArray[np.uint8]:
    return render_view(
        np.asarray(pool.images[image]),
        recipe,
        derive(ctx.seed, "sensitivity", pool.kind, image, view),
    )
