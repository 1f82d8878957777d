"""The images of a strategy, batch by batch and shard by shard.

Row ``j * K + c`` is image j of class c. The first 100 images per class of a run with 300 are
therefore those of a run with 100, byte for byte, and every prefix is balanced. The last batch is
padded with images that are thrown away, because a batch of another size may round differently.

Images that are made one from the other, snapshots of an inversion, are consecutive numbers of their
class, and a batch has whole trajectories: image j of a class is of its trajectory j // snapshots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from compress.data.geometry import fit_geometry
from compress.engine.config import GenerateSettings
from compress.engine.executors.fleet import environment
from compress.engine.executors.work import Advance, write_span
from compress.engine.stage import StageContext
from compress.generate.artifact import Shard, shard_path
from compress.generate.jobs import GeneratedBatch, job_at
from compress.generate.sources import Sources, read_sources
from compress.generate.strategies.strategy import Strategy
from compress.generate.strategies.table import load_strategy, trajectory_images
from compress.generate.tools import ToolCache

SHARD_IMAGES = 64  # at least; a shard is a whole number of batches
NAMED = 3  # classes in an error


def batches(
    strategy: Strategy, tool: Callable[[], Any], rows: range
) -> Iterator[tuple[Sequence[int], GeneratedBatch]]:
    """Generates ``rows`` in batches of exactly the size set; the last may go beyond the rows."""
    sources = strategy.sources
    classes = len(sources.classes)
    for numbers in batch_rows(rows, strategy.settings, classes):
        jobs = [job_at(row, classes, sources.seed) for row in numbers]
        yield numbers, strategy.generate(jobs, tool())


def batch_rows(rows: range, settings: GenerateSettings, classes: int) -> Iterator[Sequence[int]]:
    """The rows of each batch, trajectory after trajectory; ``rows`` start with a unit."""
    each = trajectory_images(settings)
    batch = settings.batch
    unit = unit_rows(settings, classes)
    for start in range(rows.start, rows.stop, unit):
        if each == 1:
            yield range(start, start + unit)
            continue
        firsts = [
            first + class_id
            for first in range(start, start + unit, each * classes)
            for class_id in range(classes)
        ]
        for at in range(0, len(firsts), batch):
            numbers = (
                range(first, first + each * classes, classes) for first in firsts[at:][:batch]
            )
            yield [row for trajectory in numbers for row in trajectory]


def unit_rows(settings: GenerateSettings, classes: int) -> int:
    """Rows that belong together: a batch, or a batch of trajectories rounded up to all classes."""
    each = trajectory_images(settings)
    if each == 1:
        return settings.batch
    return each * classes * -(-settings.batch // classes)


@dataclass(frozen=True)
class Generating:
    """What both kinds of `SpanWork` of the stage have, shards and probing.

    Attributes:
        held: what this process has loaded already.
    """

    ctx: StageContext
    held: tuple[Sources, ToolCache] | None = field(
        default=None, kw_only=True, repr=False, compare=False
    )

    unit = "image"

    def for_worker(self) -> Self:
        """A copy that loads for itself."""
        return replace(self, ctx=self.ctx.silent, held=None)

    @cached_property
    def sources(self) -> Sources:
        """What strategies read of the run."""
        return self.held[0] if self.held else read_sources(self.ctx)

    @cached_property
    def tools(self) -> ToolCache:
        """What they generate with."""
        return self.held[1] if self.held else ToolCache(self.ctx)

    def units(self, span: range) -> int:
        """Images."""
        return len(span)

    def environment(self) -> dict[str, str]:
        """That of torch on the run's device."""
        return environment(self.ctx.host.device)

    def load(self, span: range) -> None:
        """Nothing: what is generated is read by no other image."""

    def shard(self, strategy: Strategy, rows: range, advance: Advance) -> Shard:
        """Generates rows."""
        parts: list[GeneratedBatch] = []
        places: list[int] = []
        for numbers, part in batches(strategy, lambda: self.tools.get(strategy.settings), rows):
            advance(sum(row in rows for row in numbers), 0.0)
            parts.append(part)
            places += numbers
        order = np.argsort(places)[: len(rows)]
        images = np.concatenate([part.images for part in parts])[order]
        conditions = np.concatenate([part.conditions for part in parts])[order]
        made = [record for part in parts for record in part.records]
        records = [made[place] for place in order]
        images = fit_geometry(images, self.sources.geometry)
        return Shard(images, conditions.astype(np.float16), records, self.tools.facts)


def cut(rows: range, unit: int) -> list[range]:
    """Rows in spans of at least ``SHARD_IMAGES``, each a whole number of units."""
    size = -(-SHARD_IMAGES // unit) * unit
    return [range(at, min(at + size, rows.stop)) for at in range(rows.start, rows.stop, size)]


@dataclass(frozen=True)
class ShardWork(Generating):
    """Generates the shards of a run; ``settings`` may have been chosen by probing."""

    settings: GenerateSettings

    name = "generate"

    def spans(self) -> list[range]:
        """The rows of all shards."""
        count = self.strategy.per_class() * len(self.sources.classes)
        return cut(range(count), unit_rows(self.settings, len(self.sources.classes)))

    @cached_property
    def strategy(self) -> Strategy:
        """What is generated."""
        return load_strategy(self.settings, self.sources)

    def path(self, span: range) -> Path:
        """The shard of some rows."""
        return shard_path(self.ctx.partial, span.start)

    def about(self, span: range) -> str:
        """The rows and the classes of a shard."""
        classes = [entry.name for entry in self.sources.classes]
        names = list(dict.fromkeys(classes[row % len(classes)] for row in span))
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return f"images {span.start}..{span.stop - 1} of {', '.join(names[:NAMED])}{more}"

    def make(self, span: range, loaded: None, advance: Advance) -> None:
        """Generates a shard and writes it."""
        shard = self.shard(self.strategy, span, advance)
        write_span(self, span, *shard.content())
