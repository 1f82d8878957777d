"""Labels spans of a pool: renders the views of its images and asks the teacher about each once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.data.views import Views
from compress.engine.errors import TrainingError
from compress.engine.executors.fleet import environment
from compress.engine.executors.work import Advance, write_span
from compress.engine.stage import StageContext
from compress.label.artifact import PoolKind
from compress.label.pools import ImagePool, read_pools
from compress.teacher.artifact import Heads, TeacherArtifact
from compress.teacher.loading import load_for
from compress.teacher.teacher import Teacher


@dataclass(frozen=True)
class LabelWork:
    """Labels the images of ``label.pools``: the `SpanWork` of the stage.

    Rows count through all pools, the real images first.
    """

    ctx: StageContext

    name = "label"
    unit = "view"

    def for_worker(self) -> LabelWork:
        """A copy that loads for itself."""
        return LabelWork(self.ctx.silent)

    @cached_property
    def every(self) -> tuple[ImagePool, ImagePool]:
        """The real and the synthetic images, labeled or not."""
        return read_pools(self.ctx)

    @cached_property
    def pools(self) -> list[tuple[int, ImagePool]]:
        """The pools to label, each with the row of its first image."""
        wanted = [pool for pool in self.every if pool.kind in self.ctx.settings.label.pools]
        firsts = accumulate((len(pool.images) for pool in wanted), initial=0)
        return list(zip(firsts, wanted, strict=False))

    def spans(self) -> list[range]:
        """The rows of all shards, pool by pool."""
        batch = self.ctx.settings.label.batch
        return [
            range(first + rows.start, first + rows.stop)
            for first, pool in self.pools
            for rows in pool.shards(batch)
        ]

    def place(self, span: range) -> tuple[ImagePool, range]:
        """The pool of some rows, and their images there."""
        first, pool = next(one for one in reversed(self.pools) if one[0] <= span.start)
        return pool, range(span.start - first, span.stop - first)

    @cached_property
    def views(self) -> dict[PoolKind, Views]:
        """The views of each pool."""
        return {
            pool.kind: Views.of(self.ctx, pool.kind, pool.images, pool.views)
            for _, pool in self.pools
        }

    @cached_property
    def heads(self) -> Heads:
        """The teacher's answers to its features."""
        return TeacherArtifact(self.ctx.inputs["teacher"].path).heads()

    @cached_property
    def teacher(self) -> Teacher:
        """Loaded by whoever makes a span; a resumed stage that lacks none never does."""
        teacher = load_for(self.ctx)
        # of all pools, finished or not: a resumed stage computes as the killed one did
        teacher.expect(sum(map(self.units, self.spans())))
        return teacher

    def path(self, span: range) -> Path:
        """The answers to some images."""
        pool, rows = self.place(span)
        return self.ctx.partial / f"{_prefix(pool.kind)}{rows.start:07d}.safetensors"

    @staticmethod
    def is_of(kind: PoolKind, file: Path) -> bool:
        """Whether a shard is of a pool."""
        return file.name.startswith(_prefix(kind))

    def units(self, span: range) -> int:
        """Views."""
        return len(span) * self.place(span)[0].views

    def about(self, span: range) -> str:
        """The images of a span."""
        pool, rows = self.place(span)
        return f"{pool.kind} images {rows.start}..{rows.stop - 1}"

    def environment(self) -> dict[str, str]:
        """That of torch on the run's device."""
        return environment(self.ctx.host.device)

    def load(self, span: range) -> NDArray[np.uint8]:
        """The views of some images, ``(n * V, S, S, 3)``."""
        pool, rows = self.place(span)
        views = self.views[pool.kind]
        flat = range(rows.start * pool.views, rows.stop * pool.views)
        with ThreadPoolExecutor(self.ctx.host.workers) as threads:
            return np.stack([job.result() for job in views.submit(threads, flat)])

    def make(self, span: range, loaded: NDArray[np.uint8], advance: Advance) -> None:
        """Asks the teacher about the views, and writes features and logits of each."""
        teacher, heads = self.teacher, self.heads
        features = heads.space(teacher.encode_images(loaded))
        if not np.isfinite(features).all():
            raise TrainingError("the teacher's features are not finite", got=self.about(span))
        answers: dict[str, NDArray[Any]]
        answers = {"features": features.astype(np.float16), "logits": heads.logits(features)}
        shape = (len(span), self.place(span)[0].views, -1)
        write_span(self, span, {name: rows.reshape(shape) for name, rows in answers.items()})
        advance(len(loaded), 0.0)


def _prefix(kind: PoolKind) -> str:
    return f"label_{kind}_"
