"""Pools of images with V replayable views each and the teacher's cached targets for every view.

A view is image ``i`` augmented with the seed ``derive(run seed, "view", pool, i, v)``. The label
stage has computed the teacher's targets of exactly these views, so rendering them again pairs every
target with its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.data.artifact import DataArtifact
from compress.data.views import Views
from compress.engine.seeds import numpy_rng
from compress.engine.stage import StageContext
from compress.generate.artifact import GenerateArtifact
from compress.label.artifact import LabelArtifact, PoolKind

TargetName = Literal["logits", "features", "conditions"]


@dataclass(frozen=True)
class FeatureRows:
    """The cached teacher features of a pool's kept views, and how much of a batch they are."""

    features: Tensor  # (N, D), as they are cached
    labels: Tensor  # (N,) int64
    share: float  # of the rows of a batch, 0..1


@dataclass(eq=False)
class ViewPool:
    """Images of one kind with V views each. A *flat index* is ``image * V + view``.

    Targets by name: the teacher's "features" ``(N, V, D)`` and "logits" ``(N, V, K)``, the
    generator's "conditions" ``(N, E)``; any may be missing.
    """

    kind: PoolKind
    labels: NDArray[np.int64]  # (N,)
    targets: dict[TargetName, Tensor]
    keep: NDArray[np.bool_]  # (N,); images dropped by a filter are never drawn
    styles: NDArray[np.int64]  # (N,), -1 for an image without one
    seed: int
    renderings: Views
    weight: NDArray[np.float32] | None = None  # (N,), how often images are drawn; None: alike

    def __post_init__(self) -> None:
        self.members = np.flatnonzero(np.repeat(self.keep, self.views))  # flat indices
        self._passes: dict[tuple[str, int], NDArray[np.int64]] = {}

    @property
    def images(self) -> NDArray[np.uint8]:
        """(N, C, C, 3), may be a memory map."""
        return self.renderings.images

    @property
    def views(self) -> int:
        """V, renderings of each image."""
        return self.renderings.views

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
            order = rng.permutation(self._weighted(rng))
            self._passes = {**dict(list(self._passes.items())[-3:]), (phase, number): order}
        return order

    def _weighted(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """As many flat indices as members, each as often as its weight says, up to one.

        Systematic sampling: even points on the running sum of the weights, from a random start.
        """
        if self.weight is None:
            return self.members
        ends = np.cumsum(self.weight[self.members // self.views], dtype=np.float64)
        points = (np.arange(len(ends)) + rng.random()) * (ends[-1] / len(ends))
        return self.members[np.minimum(np.searchsorted(ends, points), len(ends) - 1)]

    @property
    def styles_in_use(self) -> NDArray[np.int64]:
        """The style of every member."""
        return self.styles[self.members // self.views]

    def draw_styles(
        self, styles: NDArray[np.int64], count: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """``count`` flat indices of images with one of ``styles``, drawn with replacement."""
        members = self.members[np.isin(self.styles_in_use, styles)]
        share = None
        if self.weight is not None:
            weight = self.weight[members // self.views].astype(np.float64)
            share = weight / weight.sum()
        return np.asarray(rng.choice(members, count, p=share), np.int64)

    def target(self, name: TargetName, indices: NDArray[np.int64]) -> Tensor | None:
        """Cached targets of flat indices, ``(B, ...)`` float32; None if the pool has none."""
        cached = self.targets.get(name)
        if cached is None:
            return None
        per_image = cached.ndim == 2
        rows = cached[indices // self.views] if per_image else cached.flatten(0, 1)[indices]
        return rows.float()

    def feature_rows(self, share: float) -> FeatureRows | None:
        """The cached features of the members; None if the teacher has not seen the pool."""
        cached = self.targets.get("features")
        if cached is None:
            return None
        labels = torch.from_numpy(self.labels[self.members // self.views])
        return FeatureRows(cached.flatten(0, 1)[self.members], labels, share)

    def view(self, index: int) -> NDArray[np.uint8]:
        """The view of a flat index, ``(S, S, 3)`` uint8."""
        return self.renderings.at(int(index))


def read_pools(ctx: StageContext) -> tuple[ViewPool, ViewPool]:
    """The real and the synthetic images of a run, with the cached targets of their views."""
    shots = DataArtifact(ctx.inputs["data"].path).shots
    synthetic = GenerateArtifact(ctx.inputs["generate"].path)
    label = LabelArtifact(ctx.inputs["label"].path)

    def targets(
        kind: PoolKind, conditions: NDArray[np.floating] | None
    ) -> dict[TargetName, Tensor]:
        rows: dict[TargetName, NDArray[np.floating] | None] = {"conditions": conditions}
        answers = label.targets(kind)
        if answers is not None:
            rows |= {"features": answers.features, "logits": answers.logits}
        return {name: torch.from_numpy(row) for name, row in rows.items() if row is not None}

    cached = targets("real", synthetic.source_conditions)
    every = np.ones(len(shots), bool)
    no_style = np.full(len(shots), -1)
    views = Views.of(ctx, "real", shots.pixels, label.views("real"))
    real = ViewPool("real", shots.labels, cached, every, no_style, ctx.seed, views)
    cached = targets("synthetic", synthetic.conditions)
    labels = synthetic.classes
    ids = [-1 if row.style_id is None else row.style_id for row in synthetic.records]
    styles = np.asarray(ids, np.int64)
    views = Views.of(ctx, "synthetic", synthetic.images, label.views("synthetic"))
    rest = (label.keep, styles, ctx.seed, views, label.weight)
    return real, ViewPool("synthetic", labels, cached, *rest)
