"""The images of a strategy, batch by batch, shard by shard, and the shards joined.

Images are made number by number, not class by class: row ``j * K + c`` is image j of class c. The
    first 100 images per
class of a run with 300 are therefore the images of a run with 100, byte for byte, and any prefix is
balanced. The last batch is filled up with images that are thrown away, because a batch of another
size may round differently.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import runtime
from compress.data.rows import RowWriter
from compress.engine.seeds import derive
from compress.engine.stage import StageContext
from compress.generate.base import Job, Made, Strategy

SHARD_IMAGES = 64  # at least; a shard is a whole number of batches


def job_at(index: int, classes: int, seed: int, purpose: str = "generate") -> Job:
    """The job of a row: number by number, class by class."""
    number, class_id = divmod(index, classes)
    return Job(index, class_id, number, derive(seed, purpose, class_id, number))


def batches(
    strategy: Strategy, tool: Callable[[], Any], job: Callable[[int], Job], rows: range, batch: int
) -> Iterator[Made]:
    """Makes the images of ``rows`` in batches of exactly ``batch``; the last one may go beyond the
    rows.
    """
    for start in range(rows.start, rows.stop, batch):
        yield strategy.make([job(index) for index in range(start, start + batch)], tool())


def make_shards(
    ctx: StageContext,
    strategy: Strategy,
    tool: Callable[[], Any],
    count: int,
    classes: int,
    edge: int,
    batch: int,
) -> list[Path]:
    """Makes the shards that are missing under ``partial/`` and returns all of them in order.

    Args:
        tool: loads what the strategy makes images with; called only if a shard is missing.
        count: images in all.
        edge: pixels of the data stage's images, which synthetic ones are resized to.
        batch: images a call.
    """
    size = -(-SHARD_IMAGES // batch) * batch
    shards = [range(start, min(start + size, count)) for start in range(0, count, size)]
    paths = [ctx.partial / f"shard_{rows.start:07d}.safetensors" for rows in shards]
    done = sum(len(rows) for path, rows in zip(paths, shards, strict=True) if path.exists())
    jobs = partial(job_at, classes=classes, seed=ctx.seed)
    with ctx.progress.task("generate", total=count, unit="image", done=done) as task:
        for path, rows in zip(paths, shards, strict=True):
            if path.exists():
                continue
            made: list[Made] = []
            for part in batches(strategy, tool, jobs, rows, batch):
                task.advance(min(batch, len(rows) - batch * len(made)))
                made.append(part)
            _save(path, made, len(rows), edge)
    return paths


def to_edge(image: NDArray[np.uint8], edge: int) -> NDArray[np.uint8]:
    """A generated square image at the cache's edge, by the runtime's resize."""
    if image.shape[0] == edge:
        return image
    spec = runtime.PreprocessSpec(
        size=edge, resize=edge, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    return runtime.geometry(Image.fromarray(image), spec)


def assemble(folder: Path, shards: Sequence[Path], edge: int) -> int | None:
    """Joins the shards, never all of them in memory, and returns the width E of the conditions;
    None without any.
    """
    from safetensors import safe_open

    conditions: list[NDArray[np.float16]] = []
    with (
        RowWriter(folder / "synthetic.npy", (edge, edge, 3)) as images,
        (folder / "synthetic.jsonl").open("w") as records,
    ):
        for path in shards:
            with safe_open(path, "numpy") as shard:
                for image in shard.get_tensor("images"):
                    images.append(image)
                conditions.append(shard.get_tensor("conditions"))
                records.write(shard.metadata()["records"] + "\n")
    stacked = np.concatenate(conditions) if conditions else np.empty((0, 0), np.float16)
    np.save(folder / "conditions.npy", stacked, allow_pickle=False)
    return stacked.shape[1] or None


def _save(path: Path, made: Sequence[Made], keep: int, edge: int) -> None:
    from safetensors.numpy import save_file

    images = np.concatenate([part.images for part in made])[:keep]
    conditions = np.concatenate([part.conditions for part in made])[:keep].astype(np.float16)
    # safetensors writes the memory as it lies: a transposed array would come back as another
    # picture
    arrays: dict[str, NDArray[Any]] = {
        "images": np.ascontiguousarray(np.stack([to_edge(image, edge) for image in images])),
        "conditions": np.ascontiguousarray(conditions),
    }
    lines = [record.line() for part in made for record in part.records][:keep]
    save_file(arrays, path.with_suffix(".tmp"), metadata={"records": "\n".join(lines)})
    os.replace(path.with_suffix(".tmp"), path)
