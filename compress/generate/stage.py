"""Stage "generate": synthetic images by a strategy and a generator.

Images are made number by number, not class by class: row ``j * K + c`` is image j of class c. The first 100 images per
class of a run with 300 are therefore the images of a run with 100, byte for byte, and any prefix is balanced. The last
batch is filled up with images that are thrown away, because a batch of another size may round differently.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import runtime
from compress.artifacts import write_json
from compress.config import GenerateSettings, Settings
from compress.data.rows import RowWriter
from compress.errors import ConfigError, nearest
from compress.generate.base import GENERATORS, Generator, Job, Made, Sources, Strategy, load_generator
from compress.generate.sheets import contact_sheet, sheet_names
from compress.generate.sidclip import Sidclip
from compress.hub import fingerprint_path
from compress.seeds import derive
from compress.stages import StageContext

SHARD_IMAGES = 64  # at least; a shard is a whole number of batches


class NoSynthesis:
    """The strategy that makes nothing."""

    def __init__(self, settings: GenerateSettings, sources: Sources) -> None:
        pass

    def per_class(self) -> int:
        """None."""
        return 0

    def facts(self) -> dict[str, Any]:
        """Nothing to say."""
        return {}

    def make(self, jobs: Sequence[Job], generator: Generator) -> Made:
        """Never called: there are no jobs."""
        raise NotImplementedError("strategy none makes no images")


STRATEGIES: dict[str, Callable[[GenerateSettings, Sources], Strategy]] = {"sidclip": Sidclip, "none": NoSynthesis}


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes synthetic.npy (N, C, C, 3), synthetic.jsonl, conditions.npy (N, E) fp16 and a contact sheet per class."""
    settings, sources = ctx.settings.generate, read_sources(ctx)
    strategy = make_strategy(settings, sources)
    count, edge = strategy.per_class() * len(sources.classes), sources.shots.shape[1]
    generator = _LazyGenerator(ctx)
    shards = _make_shards(ctx, strategy, generator, count, len(sources.classes), edge)
    embed_dim = _assemble(ctx.folder, shards, edge)
    images = np.load(ctx.folder / "synthetic.npy", mmap_mode="r")
    names = sheet_names([row["name"] for row in sources.classes])
    for class_id, name in enumerate(names):
        real = [np.asarray(sources.shots[row]) for row in sources.members[class_id]]
        contact_sheet(real, images[class_id :: len(names)]).save(ctx.folder / name)
    meta = json.loads((ctx.partial / "generator.json").read_text()) if count else {}
    return {
        "images": count, "per_class": strategy.per_class(), "strategy": settings.strategy,
        "generator": settings.generator if count else None, "generator_license": meta.get("license"),
        "generator_fingerprint": meta.get("fingerprint"), "generator_image_size": meta.get("image_size"),
        "embed_dim": embed_dim, "steps": settings.steps, "guidance_scale": settings.guidance_scale,
        "scheduler": settings.scheduler, "sheets": names, **strategy.facts(),
    }  # fmt: skip


def make_strategy(settings: GenerateSettings, sources: Sources) -> Strategy:
    """The strategy by name.

    Raises:
        ConfigError: no such strategy (with the nearest name).
    """
    name = settings.strategy
    if name not in STRATEGIES:
        raise ConfigError("unknown strategy", got=repr(name), remedy=nearest(name, STRATEGIES))
    return STRATEGIES[name](settings, sources)


def fingerprint(settings: Settings) -> dict[str, str]:
    """What identifies the generator's weights before they are loaded: local ones' content, published ones' name."""
    name = settings.generate.generator
    if settings.generate.strategy == "none":
        return {}
    if name == "petals":
        from compress.embedded.weights import WEIGHTS

        return {"generator": fingerprint_path(WEIGHTS)}
    folders = [Path(name)] if name in GENERATORS or Path(name).is_dir() else [Path(part) for part in name.split("+")]
    local = {str(folder): fingerprint_path(folder) for folder in folders if folder.is_dir()}
    return {"generator": " ".join(local.values()) or name}


def read_sources(ctx: StageContext) -> Sources:
    """The run's classes and shots. Nothing else of the data stage is opened: test images cannot leak."""
    data = ctx.inputs["data"].path
    rows = json.loads((data / "shots.json").read_text())
    return Sources(
        classes=json.loads((data / "classes.json").read_text()),
        shots=np.load(data / "shots.npy", mmap_mode="r"),
        labels=np.asarray([row["label"] for row in rows], np.int64),
        keys=[row["key"] for row in rows],
        seed=ctx.seed,
    )


def job_at(index: int, classes: int, seed: int) -> Job:
    """The job of a row: number by number, class by class."""
    number, class_id = divmod(index, classes)
    return Job(index, class_id, number, derive(seed, "generate", class_id, number))


def _make_shards(
    ctx: StageContext, strategy: Strategy, generator: _LazyGenerator, count: int, classes: int, edge: int
) -> list[Path]:
    """Makes the shards that are missing under ``partial/`` and returns all of them in order."""
    batch = ctx.settings.generate.batch
    size = -(-SHARD_IMAGES // batch) * batch
    paths = [ctx.partial / f"shard_{start:07d}.safetensors" for start in range(0, count, size)]
    done = sum(min(size, count - i * size) for i, path in enumerate(paths) if path.exists())
    with ctx.progress.task("generate", total=count, unit="image", done=done) as task:
        for position, path in enumerate(paths):
            if path.exists():
                continue
            made = []
            for start in range(position * size, min((position + 1) * size, count), batch):
                jobs = [job_at(i, classes, ctx.seed) for i in range(start, start + batch)]
                made.append(strategy.make(jobs, generator.get()))
                task.advance(min(batch, count - start))
            _save_shard(path, made, min(size, count - position * size), edge)
    return paths


def _save_shard(path: Path, made: Sequence[Made], keep: int, edge: int) -> None:
    from safetensors.numpy import save_file

    images = np.concatenate([part.images for part in made])[:keep]
    arrays: dict[str, NDArray[Any]] = {
        "images": np.stack([to_edge(image, edge) for image in images]),
        "conditions": np.concatenate([part.conditions for part in made])[:keep].astype(np.float16),
    }
    lines = [record.line() for part in made for record in part.records][:keep]
    save_file(arrays, path.with_suffix(".tmp"), metadata={"records": "\n".join(lines)})
    os.replace(path.with_suffix(".tmp"), path)


def to_edge(image: NDArray[np.uint8], edge: int) -> NDArray[np.uint8]:
    """A generated square image at the cache's edge, by the runtime's resize."""
    if image.shape[0] == edge:
        return image
    spec = runtime.PreprocessSpec(size=edge, resize=edge, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3)
    return runtime.geometry(Image.fromarray(image), spec)


def _assemble(folder: Path, shards: Sequence[Path], edge: int) -> int | None:
    """Joins the shards, never all of them in memory, and returns the width E of the conditions."""
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
    return stacked.shape[1] if len(stacked) else None


class _LazyGenerator:
    """Loads the generator when the first image needs it, and keeps what the report says about it for a resumed run."""

    def __init__(self, ctx: StageContext) -> None:
        self._ctx = ctx
        self._generator: Generator | None = None

    def get(self) -> Generator:
        """The generator; ``partial/generator.json`` is written with it."""
        if self._generator is None:
            ctx = self._ctx
            made = load_generator(ctx.settings.generate, ctx.host.device, offline=ctx.settings.data.offline)
            about = {"license": made.license, "fingerprint": made.fingerprint(), "image_size": made.image_size}
            write_json(ctx.partial / "generator.json", about)
            self._generator = made
        return self._generator
