"""Batches of replayable views with the teacher's cached targets.

What a batch holds depends on the seed and the step alone, so a resumed run sees the same batches.
Of N ranks, rank r has its rows r, r + N, r + 2 N, ...
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import runtime
from compress.distill.pools import FeatureRows, TargetName, ViewPool, read_pools
from compress.distill.schedule import parts_of_batch
from compress.engine import ranks
from compress.engine.seeds import numpy_rng
from compress.engine.stage import StageContext

Draw = tuple[ViewPool, NDArray[np.int64], bool]  # pool, flat indices, whether in the first group


@dataclass
class Batch:
    """Inputs and targets of one step. Targets that were not cached are None.

    A condition is the embedding that an image was generated from; a real image's is its own. The
    group marks the half of the styles that a meta step trains on.
    """

    # (B, 3, S, S) float32, normalized for the student, channels last; or of `Batches.stand_ins`
    images: Tensor
    teacher_logits: Tensor | None  # (B, K) float32
    teacher_features: Tensor | None  # (B, D) float32, unit rows
    labels: Tensor  # (B,) int64
    real: Tensor  # (B,) bool, False for synthetic images
    conditions: Tensor | None = None  # (B, E) float32
    group: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))  # (B,)
    wait_s: float = 0.0  # seconds spent waiting for this batch
    # makes the mean over the real rows here its part in the mean of all ranks' such means
    real_weight: float = 1.0
    shared: bool = False  # other ranks have other rows of it

    def tensors(self) -> dict[str, Tensor]:
        """What is saved when training stops on a NaN."""
        kept = {"images": self.images, "teacher_logits": self.teacher_logits, "labels": self.labels}
        return {name: value for name, value in kept.items() if value is not None}

    def to(self, device: str) -> Batch:
        """The batch on a device."""
        return self if device == "cpu" else self._map(lambda name, value: value.to(device))

    def part(self, rows: Tensor) -> Batch:
        """The images where ``rows`` (B,) bool is true."""
        return self._map(lambda name, value: value if name == "group" else value[rows])

    def _map(self, change: Callable[[str, Tensor], Tensor]) -> Batch:
        values = ((entry.name, getattr(self, entry.name)) for entry in fields(self))
        tensors: dict[str, Any] = {n: change(n, v) for n, v in values if isinstance(v, Tensor)}
        return replace(self, **tensors)


class Batches:
    """Draws batches from the real shots and the synthetic images of a run.

    The name of the phase, "distill" or "quantize", separates the draws of different stages.
    """

    def __init__(self, ctx: StageContext, preprocess: runtime.PreprocessSpec, phase: str) -> None:
        self.preprocess = preprocess
        self.phase = phase
        self.seed = ctx.seed
        self.batch = ctx.settings.distill.batch
        self.real, self.synthetic = read_pools(ctx)
        self._threads = ThreadPoolExecutor(ctx.host.workers)
        self._ahead = ThreadPoolExecutor(1)
        self._next: tuple[tuple[int, bool, int], Future[Batch]] | None = None
        self._rank, self._ranks = ranks.rank(), ranks.count()
        real, synthetic = parts_of_batch(
            ctx.settings.distill, len(self.real.members) > 0, len(self.synthetic.members) > 0
        )
        counts = ((self.real, real), (self.synthetic, synthetic))
        self.parts = tuple((pool, count) for pool, count in counts if count)  # of a batch
        # by pool: rows (N * V, F) that stand for the images of its views, none of which is rendered
        self.stand_ins: dict[str, Tensor] = {}

    @property
    def images(self) -> int:
        """Images that batches are drawn from, views not counted."""
        return sum(len(pool.members) // pool.views for pool, _ in self.parts)

    @property
    def has(self) -> frozenset[TargetName]:
        """Targets that every pool in use has."""
        names = [frozenset(pool.targets) for pool, _ in self.parts]
        return frozenset.intersection(*names) if names else frozenset()

    @property
    def condition_dim(self) -> int:
        """E of the generator's conditions, 0 without any."""
        pools = (pool.targets.get("conditions") for pool, _ in self.parts)
        return next((rows.shape[1] for rows in pools if rows is not None), 0)

    def features(self) -> tuple[FeatureRows, ...]:
        """The cached teacher features of the pools in use, the real images first."""
        every = (pool.feature_rows(count / self.batch) for pool, count in self.parts)
        return tuple(rows for rows in every if rows is not None)

    @property
    def styles(self) -> NDArray[np.int64]:
        """The styles of the images in use; images without one share the style -1."""
        return np.unique(np.concatenate([pool.styles_in_use for pool, _ in self.parts]))

    def at(self, step: int, *, apart: bool = False, whole: bool = False) -> Batch:
        """The batch of a step; the next one renders in the background meanwhile.

        With ``apart`` every step splits the styles into two groups and draws half from each; with
        ``whole`` a rank gets the rows of all.
        """
        start = time.perf_counter()
        asked = (step, apart, 1 if whole else self._ranks)
        if self._next and self._next[0] == asked:
            batch = self._next[1].result()
        else:
            batch = self._batch(*asked)
        following = (step + 1, *asked[1:])
        self._next = (following, self._ahead.submit(self._batch, *following))
        batch.wait_s = time.perf_counter() - start
        return batch

    def calibration(self, count: int) -> tuple[Tensor, list[list[int | str]]]:
        """``count`` training views ``(count, 3, S, S)``, and the [pool, image, view] of each."""
        drawn = [
            (pool, int(index))
            for pool, share in self.parts
            for index in pool.draw("calibration", 0, max(1, round(count * share / self.batch)))
        ]
        images = self._images([self._threads.submit(pool.view, index) for pool, index in drawn])
        return images, [[pool.kind, *divmod(index, pool.views)] for pool, index in drawn]

    def _batch(self, step: int, apart: bool, of: int) -> Batch:
        if apart:
            drawn = self._draw_apart(step)
        else:
            drawn = [(pool, pool.draw(self.phase, step * n, n), True) for pool, n in self.parts]
        real = _real_rows(drawn)
        if of > 1:
            drawn = _rows_of(drawn, self._rank, of)
        labels = [pool.labels[indices // pool.views] for pool, indices, _ in drawn]

        def target(name: TargetName) -> Tensor | None:
            parts = [pool.target(name, indices) for pool, indices, _ in drawn]
            present = [part for part in parts if part is not None]
            return torch.cat(present) if present and len(present) == len(parts) else None

        return Batch(
            images=self._inputs(drawn),
            teacher_logits=target("logits"),
            teacher_features=target("features"),
            labels=torch.from_numpy(np.concatenate(labels)),
            real=torch.cat([torch.full((len(i),), pool.kind == "real") for pool, i, _ in drawn]),
            conditions=target("conditions"),
            group=torch.cat([torch.full((len(i),), first) for _, i, first in drawn]),
            real_weight=of * _real_rows(drawn) / real if real else 1.0,
            shared=of > 1,
        )

    def _draw_apart(self, step: int) -> list[Draw]:
        rng = numpy_rng(self.seed, "style groups", self.phase, step)
        styles = rng.permutation(self.styles)
        middle = len(styles) // 2
        drawn: list[Draw] = []
        for half, first in ((styles[:middle], True), (styles[middle:], False)):
            pools = [pool for pool, _ in self.parts if np.isin(pool.styles_in_use, half).any()]
            count = self.batch // 2 // len(pools)
            drawn += [(pool, pool.draw_styles(half, count, rng), first) for pool in pools]
        return drawn

    def _inputs(self, drawn: list[Draw]) -> Tensor:
        if self.stand_ins:
            return torch.cat([self.stand_ins[pool.kind][indices] for pool, indices, _ in drawn])
        return self._images(
            [self._threads.submit(pool.view, i) for pool, indices, _ in drawn for i in indices]
        )

    def _images(self, views: list[Future[NDArray[np.uint8]]]) -> Tensor:
        stacked = np.stack([view.result() for view in views])
        normal = torch.from_numpy(runtime.normalize(stacked, self.preprocess))
        return normal.contiguous(memory_format=torch.channels_last)

    def close(self) -> None:
        """Stops the background threads."""
        self._ahead.shutdown(cancel_futures=True)
        self._threads.shutdown(cancel_futures=True)


def _real_rows(drawn: list[Draw]) -> int:
    return sum(len(indices) for pool, indices, _ in drawn if pool.kind == "real")


def _rows_of(drawn: list[Draw], rank: int, ranks: int) -> list[Draw]:
    """The rows of a batch that belong to a rank."""
    mine = []
    start = 0  # in the batch
    for pool, indices, first in drawn:
        mine.append((pool, indices[(rank - start) % ranks :: ranks], first))
        start += len(indices)
    return mine
