"""Pools of images with V replayable views each and the teacher's cached targets for every view.

A view is image ``i`` augmented with the seed ``derive(run seed, "view", pool, i, v)``. The label
stage has computed the teacher's targets of exactly these views, so rendering them again pairs every
target with its pixels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.data.artifact import DataArtifact
from compress.data.augment import ViewRecipe, render_view
from compress.engine.seeds import derive, numpy_rng
from compress.engine.stage import StageContext
from compress.generate.artifact import GenerateArtifact
from compress.label.artifact import LabelArtifact, PoolKind

TargetName = Literal["logits", "features", "conditions"]


class ViewPool:
    """Images of one kind with V views each.

    A *flat index* is ``image * V + view``.

    Args:
        images: ``(N, C, C, 3)`` uint8, may be a memory map.
        labels: ``(N,)`` int.
        targets: cached targets by name: the teacher's "features" ``(N, V, D)`` and "logits"
            ``(N, V, K)``, the generator's "conditions" ``(N, E)``; any may be missing.
        keep: ``(N,)`` bool; images dropped by a filter are never drawn.
        styles: ``(N,)`` int, -1 for an image without one.
        views: V, renderings of each image.
        cache_bytes: rendered views are kept in RAM if all of them fit into this.
    """

    def __init__(
        self,
        kind: PoolKind,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        targets: dict[TargetName, Tensor],
        keep: NDArray[np.bool_],
        styles: NDArray[np.int64],
        views: int,
        recipe: ViewRecipe,
        seed: int,
        cache_bytes: int,
    ) -> None:
        self.kind = kind
        self.images = images
        self.labels = labels
        self.targets = targets
        self.styles = styles
        self.views = views
        self.recipe = recipe
        self.seed = seed
        self.members = np.flatnonzero(np.repeat(keep, views))  # flat indices
        shape = (len(images) * views, recipe.size, recipe.size, 3)
        self._cache = np.empty(shape, np.uint8) if np.prod(shape) <= cache_bytes else None
        self._cached = np.zeros(len(images) * views, bool)
        self._passes: dict[tuple[str, int], NDArray[np.int64]] = {}

    def draw(self, phase: str, position: int, count: int) -> NDArray[np.int64]:
        """Flat indices at ``position .. position + count`` of an endless row of shuffled passes."""
        size = len(self.members)
        out = []
        for number in range(position // size, (position + count - 1) // size + 1):
            first = max(position, number * size)
            last = min(position + count, (number + 1) * size)
            out.append(self._pass(phase, number)[first - number * size : last - number * size])
        return np.concatenate(out)

    def _pass(self, phase: str, number: int) -> NDArray[np.int64]:
        """One shuffled pass over the members; the last four stay cached."""
        order = self._passes.get((phase, number))
        if order is None:
            rng = numpy_rng(self.seed, "order", phase, self.kind, number)
            order = rng.permutation(self.members)
            self._passes = {**dict(list(self._passes.items())[-3:]), (phase, number): order}
        return order

    def draw_styles(
        self, styles: NDArray[np.int64], count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """``count`` flat indices of images with one of ``styles``, drawn with replacement."""
        members = self.members[np.isin(self.styles[self.members // self.views], styles)]
        return np.asarray(rng.choice(members, count), np.int64)

    def target(self, name: TargetName, indices: NDArray[np.int64]) -> Tensor | None:
        """Cached targets of flat indices, ``(B, ...)`` float32; None if the pool has none."""
        cached = self.targets.get(name)
        if cached is None:
            return None
        per_image = cached.ndim == 2
        rows = cached[indices // self.views] if per_image else cached.flatten(0, 1)[indices]
        return rows.float()

    def view(self, index: int) -> NDArray[np.uint8]:
        """The view of a flat index, ``(S, S, 3)`` uint8."""
        if self._cache is not None and self._cached[index]:
            row: NDArray[np.uint8] = self._cache[index]
            return row
        image, view = divmod(int(index), self.views)
        seed = derive(self.seed, "view", self.kind, image, view)
        rendered = render_view(np.asarray(self.images[image]), self.recipe, seed)
        if self._cache is not None:
            self._cache[index] = rendered
            self._cached[index] = True
        return rendered


def read_pools(ctx: StageContext) -> tuple[ViewPool, ViewPool]:
    """The real and the synthetic images of a run, with the cached targets of their views."""
    shots = DataArtifact(ctx.inputs["data"].path).shots
    synthetic = GenerateArtifact(ctx.inputs["generate"].path)
    label = LabelArtifact(ctx.inputs["label"].path)
    recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
    half = ctx.host.cache_mb * 2**20 // 2

    def pool(
        kind: PoolKind,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        conditions: NDArray[np.floating] | None,
        keep: NDArray[np.bool_],
        styles: NDArray[np.int64],
    ) -> ViewPool:
        targets: dict[TargetName, Tensor] = {}
        answers = label.targets(kind)
        if answers is not None:
            targets["features"] = torch.from_numpy(answers.features)
            targets["logits"] = torch.from_numpy(answers.logits)
        if conditions is not None:
            targets["conditions"] = torch.from_numpy(conditions)
        views = label.views(kind)
        return ViewPool(kind, images, labels, targets, keep, styles, views, recipe, ctx.seed, half)

    count = len(shots)
    styles = [-1 if row.style_id is None else row.style_id for row in synthetic.records]
    return (
        pool(
            "real",
            shots.pixels,
            shots.labels,
            synthetic.source_conditions,
            np.ones(count, bool),
            np.full(count, -1),
        ),
        pool(
            "synthetic",
            synthetic.images,
            synthetic.classes,
            synthetic.conditions,
            label.keep,
            np.asarray(styles, np.int64),
        ),
    )
