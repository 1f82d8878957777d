"""The data stage: draws the shots, decodes every image once, and lists what could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compress.data.artifact import SHOTS, TEST, DataArtifact
from compress.data.duplicates import Duplicates, digest_of
from compress.data.geometry import crop_of_shot, eval_geometry, shot_geometry
from compress.data.image_files import advice
from compress.data.shots import WINDOW, draw_shots, stratified_part
from compress.data.sources import open_source
from compress.data.split import Source, Split
from compress.data.unreadable import Unreadable
from compress.engine.config import Settings
from compress.engine.errors import DataError
from runtime.errors import ImageError
from runtime.files.paths import line
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
    artifact = DataArtifact(ctx.folder)
    unreadable = Unreadable(artifact)
    duplicates = Duplicates()
    seen = eval_geometry(image)
    with ThreadPoolExecutor(ctx.host.workers) as threads:
        read = _ImageReader(source.train, shot_geometry(image), seen, threads, unreadable)
        shots = _write_shots(ctx, source, read, duplicates)
        counts = {}
        for name, split in tests.items():
            read = _ImageReader(split, seen, seen, threads, unreadable)
            keys = _write_test(ctx, source, name, read, duplicates)
            refuse_leaks(shots, keys, name)
            counts[name] = len(keys)
    source.refuse_changes(ctx.external)
    skipped = unreadable.rows
    artifact.write_classes(source.classes)
    artifact.write_skipped(skipped)
    artifact.write_duplicates(duplicates.groups)
    what = "1 image" if len(skipped) == 1 else f"{len(skipped)} images"
    were = "was" if len(skipped) == 1 else "were"
    why = f"{what} could not be read and {were} skipped; skipped.json says why"
    notes = [line(text) for text in (*source.notes, *([why] if skipped else ()), *duplicates.notes)]
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
        **({"duplicates": duplicates.counts} if duplicates.groups else {}),
    }


class _Read(NamedTuple):
    """An image that could be read."""

    pixels: np.ndarray  # uint8 (edge, edge, 3)
    digest: bytes  # of what the student sees of it


@dataclass(frozen=True)
class _ImageReader:
    """Decodes images of a split on threads, in order; unreadable ones are None and listed."""

    split: Split
    spec: Geometry
    seen: Geometry  # of the test images, in which images are compared
    threads: ThreadPoolExecutor
    unreadable: Unreadable

    def __call__(self, indices: Sequence[int]) -> list[_Read | None]:
        """Each image, or None."""
        results = list(self.threads.map(self._read, indices))
        for index, result in zip(indices, results, strict=True):
            if isinstance(result, str):
                self.unreadable.add(self.split.keys[index], result)
        return [None if isinstance(result, str) else result for result in results]

    def why(self, indices: Sequence[int]) -> str:
        """Why images at some indices could not be read."""
        return self.unreadable.why(self.split.keys[index] for index in indices)

    def _read(self, index: int) -> _Read | str:
        try:
            image = self.split.image(index)
            pixels = geometry(image, self.spec)
        except ImageError as error:
            where = self.split.load(index)
            if not isinstance(where, Path):
                return str(error)
            # the key says it already, and a path differs between machines
            reason = str(error).replace(str(where), "file")
            hint = advice(where)
            return f"{reason} · {hint}" if hint else reason
        shown = pixels if self.spec == self.seen else crop_of_shot(pixels, image.size, self.seen)
        return _Read(pixels, digest_of(shown))


def _write_shots(
    ctx: StageContext, source: Source, read: _ImageReader, duplicates: Duplicates
) -> list[str]:
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
            drawn = draw_shots(source.train, source.names, shots, ctx.settings.seed, read, read.why)
            for label, index, image in drawn:
                file.append(image.pixels)
                keys.append(source.train.keys[index])
                labels.append(label)
                duplicates.add(SHOTS, keys[-1], source.names[label], image.digest)
                task.advance()
    artifact.write_rows(SHOTS, keys, labels)
    return keys


def _write_test(
    ctx: StageContext, source: Source, name: str, read: _ImageReader, duplicates: Duplicates
) -> list[str]:
    """Writes a test set and returns the keys of its images."""
    artifact = DataArtifact(ctx.folder)
    test = read.split
    what = f"{name.replace('_', ' ', 1)} images"
    kept: list[int] = []
    with (
        artifact.pixel_writer(name, ctx.settings.image.size) as file,
        ctx.progress.task(f"read {what}", total=len(test), unit="image") as task,
    ):
        for start in range(0, len(test), WINDOW):
            window = range(start, min(start + WINDOW, len(test)))
            for index, image in zip(window, read(window), strict=True):
                if image is not None:
                    file.append(image.pixels)
                    kept.append(index)
                    label = int(test.labels[index])
                    duplicates.add(name, test.keys[index], source.names[label], image.digest)
            task.advance(len(window))
    if len(kept) < (1 - MOST_UNREADABLE) * len(test):
        got = f"{len(kept)} readable of {len(test)}{read.why(range(len(test)))}"
        remedy = "check that the images are complete and of a format that is read"
        raise DataError(f"most of the {what} cannot be read", got=got, remedy=remedy)
    labels = test.labels[kept].tolist()
    lost = sorted(set(test.labels.tolist()) - set(labels))
    if lost:
        reasons = read.why(np.flatnonzero(np.isin(test.labels, lost)).tolist())
        got = ", ".join(source.names[label] for label in lost) + reasons
        remedy = "add readable images to the class, or remove it from train/ too"
        what = f"a class has no readable image among the {what}"
        raise DataError(what, got=got, remedy=remedy)
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
