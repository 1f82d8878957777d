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

from compress.data.artifact import DataArtifact
from compress.data.augment import ViewRecipe
from compress.data.views import Views
from compress.engine.errors import TrainingError
from compress.engine.executors.fleet import environment
from compress.engine.executors.work import Advance, write_span
from compress.engine.stage import StageContext
from compress.label.artifact import PoolKind
from compress.label.pools import ImagePool, read_pools
from compress.label.prototypes import made_toward_prototypes, prototype_heads
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
    def sizes(self) -> tuple[int, ...]:
        """The edge of the views that each teacher sees, in pixels: the student's, or its own."""
        settings = self.ctx.settings
        if settings.label.teacher_view == "student":
            return (settings.image.size,)
        facts = self.ctx.inputs["teacher"].facts
        return tuple(member["input_size"] for member in facts.get("members", [facts]))

    @cached_property
    def views(self) -> dict[tuple[PoolKind, int], Views]:
        """The views of each pool at each size; those that training replays are kept."""
        ctx = self.ctx
        recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
        return {
            (pool.kind, size): Views.of(ctx, pool.kind, pool.images, pool.views)
            if size == recipe.size
            else Views(pool.images, recipe.at(size), ctx.seed, pool.kind, pool.views)
            for _, pool in self.pools
            for size in self.sizes
        }

    @cached_property
    def heads(self) -> Heads:
        """The teacher's answers to its features: its probe's, or those of prototypes."""
        heads = TeacherArtifact(self.ctx.inputs["teacher"].path).heads()
        if not made_toward_prototypes(self.ctx.inputs["generate"].facts):
            return heads
        shots = DataArtifact(self.ctx.inputs["data"].path).shots
        features = self.teacher.encode_images(np.asarray(shots.pixels))
        return prototype_heads(heads, features, shots.labels)

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

    def load(self, span: range) -> dict[int, NDArray[np.uint8]]:
        """The views of some images by their size S, ``(n * V, S, S, 3)``."""
        pool, rows = self.place(span)
        flat = range(rows.start * pool.views, rows.stop * pool.views)
        with ThreadPoolExecutor(self.ctx.host.workers) as threads:
            jobs = {s: self.views[pool.kind, s].submit(threads, flat) for s in self.sizes}
            return {size: np.stack([job.result() for job in row]) for size, row in jobs.items()}

    def make(self, span: range, loaded: dict[int, NDArray[np.uint8]], advance: Advance) -> None:
        """Asks the teacher about the views, and writes features and logits of each."""
        teacher, heads = self.teacher, self.heads
        features = heads.space(teacher.encode_views(loaded))
        if not np.isfinite(features).all():
            raise TrainingError("the teacher's features are not finite", got=self.about(span))
        answers: dict[str, NDArray[Any]]
        answers = {"features": features.astype(np.float16), "logits": heads.logits(features)}
        shape = (len(span), self.place(span)[0].views, -1)
        write_span(self, span, {name: rows.reshape(shape) for name, rows in answers.items()})
        advance(len(features), 0.0)


def _prefix(kind: PoolKind) -> str:
    return f"label_{kind}_"
