"""The data stage: draws the shots, decodes every image once, and lists what could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.data.artifact import SHOTS, TEST, DataArtifact
from compress.data.geometry import eval_geometry, shot_geometry
from compress.data.shots import WINDOW, draw_shots, stratified_part
from compress.data.sources import open_source
from compress.data.split import Source, Split
from compress.engine.config import Settings
from compress.engine.errors import DataError
from runtime.errors import ImageError
from runtime.preprocess import Geometry, geometry

if TYPE_CHECKING:
    from compress.engine.stage import StageContext

MOST_UNREADABLE = 0.5  # share of a test split beyond which something else is wrong


def fingerprint(settings: Settings) -> dict[str, str]:
    """The identity of the source's content: part of the stage's, next to its settings."""
    return open_source(settings.data).identity()


def run(ctx: StageContext) -> dict[str, Any]:
    """Fills the stage folder.

    Raises:
        ConfigError: an unknown dataset, domain or style.
        DownloadError: a dataset that is neither on disk nor downloadable.
        DataError: unusable classes or images, too few of them, or a shot among the test images.
    """
    data = ctx.settings.data
    image = ctx.settings.image
    source = open_source(data)
    domains = {f"{TEST}_{domain}": split for domain, split in source.others.items()}
    tests = {TEST: source.test, **domains}
    for name, split in tests.items():
        if data.test_limit is not None and data.test_limit < len(split):
            tests[name] = split.subset(stratified_part(split, source.names, data.test_limit))
    skipped: list[dict[str, str]] = []
    with ThreadPoolExecutor(ctx.host.workers) as threads:
        read = _ImageReader(source.train, shot_geometry(image), threads, skipped)
        shots = _write_shots(ctx, source, read)
        counts = {}
        for name, split in tests.items():
            read = _ImageReader(split, eval_geometry(image), threads, skipped)
            keys = _write_test(ctx, source, name, split, read)
            refuse_leaks(shots, keys, name)
            counts[name] = len(keys)
    artifact = DataArtifact(ctx.folder)
    artifact.write_classes(source.classes)
    artifact.write_skipped(skipped)
    why = f"{len(skipped)} images could not be read and were skipped; skipped.json says why"
    notes = [*source.notes, *([why] if skipped else [])]
    for note in notes:
        ctx.progress.note(note)
    return {
        "name": source.name,
        "classes": len(source.classes),
        "shots": data.shots,
        "train_images": len(shots),
        "test_images": counts[TEST],
        "domain": source.domain,
        "domains": {domain: counts[f"{TEST}_{domain}"] for domain in source.others},
        "skipped": len(skipped),
        "image_size": image.size,
        "cache_size": image.resize,
        "license": source.license,
        "notes": notes,
    }


@dataclass(frozen=True)
class _ImageReader:
    """Decodes images of a split on threads, in order; unreadable ones are None and listed."""

    split: Split
    spec: Geometry
    threads: ThreadPoolExecutor
    skipped: list[dict[str, str]]

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray | None]:
        """Pixels uint8 (edge, edge, 3) of each image."""
        results = list(self.threads.map(self._read, indices))
        for index, result in zip(indices, results, strict=True):
            if isinstance(result, str):
                self.skipped.append({"key": self.split.keys[index], "reason": result})
        return [None if isinstance(result, str) else result for result in results]

    def _read(self, index: int) -> np.ndarray | str:
        try:
            return geometry(self.split.image(index), self.spec)
        except ImageError as error:
            where = self.split.load(index)
            # the key says it already, and a path differs between machines
            return str(error).replace(str(where), "file") if isinstance(where, Path) else str(error)


def _write_shots(ctx: StageContext, source: Source, read: _ImageReader) -> list[str]:
    """Writes the shots and returns their keys."""
    artifact = DataArtifact(ctx.folder)
    shots = ctx.settings.data.shots
    keys: list[str] = []
    labels: list[int] = []
    total = len(source.train) if shots == "all" else shots * len(source.classes)
    with (
        artifact.pixel_writer(SHOTS, ctx.settings.image.resize) as file,
        ctx.progress.task("read shots", total=total, unit="image") as task,
    ):
        if shots:
            drawn = draw_shots(source.train, source.names, shots, ctx.settings.seed, read)
            for label, index, pixels in drawn:
                file.append(pixels)
                keys.append(source.train.keys[index])
                labels.append(label)
                task.advance()
    artifact.write_rows(SHOTS, keys, labels)
    return keys


def _write_test(
    ctx: StageContext, source: Source, name: str, test: Split, read: _ImageReader
) -> list[str]:
    """Writes a test set and returns the keys of its images."""
    artifact = DataArtifact(ctx.folder)
    what = f"{name.replace('_', ' ', 1)} images"
    kept: list[int] = []
    with (
        artifact.pixel_writer(name, ctx.settings.image.size) as file,
        ctx.progress.task(f"read {what}", total=len(test), unit="image") as task,
    ):
        for start in range(0, len(test), WINDOW):
            window = range(start, min(start + WINDOW, len(test)))
            for index, pixels in zip(window, read(window), strict=True):
                if pixels is not None:
                    file.append(pixels)
                    kept.append(index)
            task.advance(len(window))
    if len(kept) < (1 - MOST_UNREADABLE) * len(test):
        got = f"{len(kept)} readable of {len(test)}"
        remedy = f"check that the dataset is complete, e.g. {test.keys[0]}"
        raise DataError(f"most of the {what} cannot be read", got=got, remedy=remedy)
    labels = test.labels[kept].tolist()
    lost = sorted(set(test.labels.tolist()) - set(labels))
    if lost:
        got = ", ".join(source.names[label] for label in lost)
        raise DataError(f"a class has no readable image among the {what}", got=got)
    keys = [test.keys[index] for index in kept]
    artifact.write_rows(name, keys, labels)
    return keys


def refuse_leaks(shots: Iterable[str], tests: Iterable[str], name: str) -> None:
    """Raises DataError for images that are shots and test images: they falsify every accuracy."""
    both = sorted(set(shots) & set(tests))
    if both:
        what = f"{len(both)} images are shots and in {name} too"
        remedy = "this is a bug of the dataset's reader: please report it"
        raise DataError(what, got=", ".join(both[:4]), remedy=remedy)
