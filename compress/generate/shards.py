"""The images of a strategy, batch by batch and shard by shard.

Row ``j * K + c`` is image j of class c. The first 100 images per class of a run with 300 are
therefore those of a run with 100, byte for byte, and every prefix is balanced. The last batch is
padded with images that are thrown away, because a batch of another size may round differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from compress.data.geometry import fit_geometry
from compress.engine.stage import StageContext
from compress.generate.artifact import Shard, shard_path, write_shard
from compress.generate.jobs import GeneratedBatch, job_at
from compress.generate.strategies.strategy import Strategy

SHARD_IMAGES = 64  # at least; a shard is a whole number of batches


def batches(
    strategy: Strategy, tool: Callable[[], Any], rows: range, purpose: str = "generate"
) -> Iterator[GeneratedBatch]:
    """Generates ``rows`` in batches of exactly the size set; the last may go beyond the rows."""
    sources = strategy.sources
    batch = strategy.settings.batch
    for start in range(rows.start, rows.stop, batch):
        numbers = range(start, start + batch)
        jobs = [job_at(row, len(sources.classes), sources.seed, purpose) for row in numbers]
        yield strategy.generate(jobs, tool())


def generate_shards(ctx: StageContext, strategy: Strategy, tool: Callable[[], Any]) -> list[Path]:
    """Generates the shards that ``partial/`` lacks and returns all of them in order.

    Args:
        tool: loads what the strategy generates with; called only if a shard is missing.
    """
    batch = strategy.settings.batch
    count = strategy.per_class() * len(strategy.sources.classes)
    size = -(-SHARD_IMAGES // batch) * batch
    shards = [range(start, min(start + size, count)) for start in range(0, count, size)]
    paths = {shard_path(ctx.partial, rows.start): rows for rows in shards}
    done = sum(len(rows) for path, rows in paths.items() if path.exists())
    with ctx.progress.task("generate", total=count, unit="image", done=done) as task:
        for path, rows in paths.items():
            if path.exists():
                continue
            parts: list[GeneratedBatch] = []
            for part in batches(strategy, tool, rows):
                task.advance(min(batch, len(rows) - batch * len(parts)))
                parts.append(part)
            images = np.concatenate([part.images for part in parts])[: len(rows)]
            conditions = np.concatenate([part.conditions for part in parts])[: len(rows)]
            lines = [record.line() for part in parts for record in part.records][: len(rows)]
            images = fit_geometry(images, strategy.sources.geometry)
            write_shard(path, Shard(images, conditions.astype(np.float16), tuple(lines)))
    return list(paths)
