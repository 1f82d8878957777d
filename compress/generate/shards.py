"""The images of a strategy, batch by batch and shard by shard.

Row ``j * K + c`` is image j of class c. The first 100 images per class of a run with 300 are
therefore those of a run with 100, byte for byte, and every prefix is balanced. The last batch is
padded with images that are thrown away, because a batch of another size may round differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from compress.generate.strategies.table import load_strategy
from compress.generate.tools import ToolCache

SHARD_IMAGES = 64  # at least; a shard is a whole number of batches
NAMED = 3  # classes in an error


def batches(strategy: Strategy, tool: Callable[[], Any], rows: range) -> Iterator[GeneratedBatch]:
    """Generates ``rows`` in batches of exactly the size set; the last may go beyond the rows."""
    sources = strategy.sources
    batch = strategy.settings.batch
    for start in range(rows.start, rows.stop, batch):
        numbers = range(start, start + batch)
        jobs = [job_at(row, len(sources.classes), sources.seed) for row in numbers]
        yield strategy.generate(jobs, tool())


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
        for part in batches(strategy, lambda: self.tools.get(strategy.settings), rows):
            advance(min(len(part.images), len(rows) - len(part.images) * len(parts)), 0.0)
            parts.append(part)
        images = np.concatenate([part.images for part in parts])[: len(rows)]
        conditions = np.concatenate([part.conditions for part in parts])[: len(rows)]
        records = [record for part in parts for record in part.records][: len(rows)]
        images = fit_geometry(images, self.sources.geometry)
        return Shard(images, conditions.astype(np.float16), records, self.tools.facts)


def cut(rows: range, batch: int) -> list[range]:
    """Rows in spans of at least ``SHARD_IMAGES``, each a whole number of batches."""
    size = -(-SHARD_IMAGES // batch) * batch
    return [range(at, min(at + size, rows.stop)) for at in range(rows.start, rows.stop, size)]


@dataclass(frozen=True)
class ShardWork(Generating):
    """Generates the shards of a run; ``settings`` may have been chosen by probing."""

    settings: GenerateSettings

    name = "generate"

    def spans(self) -> list[range]:
        """The rows of all shards."""
        count = self.strategy.per_class() * len(self.sources.classes)
        return cut(range(count), self.settings.batch)

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
