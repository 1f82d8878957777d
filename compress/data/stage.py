"""The data stage: draws the shots, decodes every image once, and lists what could not be read.

classes.json   [{"name", "prompt", "category"}]      the order is the class number
shots.npy      uint8 (K * k, C, C, 3)                shorter side resized to C, central square: the
               cache that views
                                                     are cut from; all training images with ``shots:
                                                     all``
test.npy       uint8 (N, S, S, 3)                    the runtime's own geometry, as on the device
shots.json     test.json  [{"key", "label"}]         skipped.json  [{"key", "reason"}]
test_<domain>.npy, test_<domain>.json                every further domain that was asked for, like
                                                     test
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.data.rows import RowWriter
from compress.data.shots import draw_shots, stratified_part
from compress.data.sources import open_source
from compress.data.split import Source, Split
from compress.engine.config import ImageSettings, Settings
from compress.engine.errors import DataError
from compress.engine.store import write_json
from runtime.errors import ImageError
from runtime.preprocess import PreprocessSpec, geometry

if TYPE_CHECKING:
    from compress.engine.stage import StageContext

WINDOW = 64  # images decoded ahead of the writer
MOST_UNREADABLE = 0.5  # share of a test split beyond which something else is wrong


def fingerprint(settings: Settings) -> dict[str, str]:
    """What the source's content is: part of the stage's identity, next to its settings."""
    return open_source(settings.data).identity()


def run(ctx: StageContext) -> dict[str, Any]:
    """Fills the stage folder.

    Raises:
        ConfigError: an unknown dataset, domain or style.
        DownloadError: a dataset that cannot be had.
        DataError: classes or images that cannot be used, too few of them, or a shot among the test
            images.
    """
    data, image = ctx.settings.data, ctx.settings.image
    source = open_source(data)
    tests = {
        "test": source.test,
        **{f"test_{domain}": split for domain, split in source.others.items()},
    }
    if data.test_limit is not None:
        tests = {
            name: _limited(split, source.names, data.test_limit) for name, split in tests.items()
        }
    skipped: list[dict[str, str]] = []
    with ThreadPoolExecutor(ctx.host.workers) as pool:
        shots = _write_shots(ctx, source, _Reader(source.train, cache_spec(image), pool, skipped))
        counts = {}
        for name, split in tests.items():
            listed = _write_test(
                ctx, source, name, split, _Reader(split, eval_spec(image), pool, skipped)
            )
            refuse_leaks(shots, listed, name)
            counts[name] = len(listed)
    write_json(ctx.folder / "classes.json", [asdict(entry) for entry in source.classes])
    write_json(ctx.folder / "skipped.json", skipped)
    notes = list(source.notes)
    if skipped:
        notes.append(
            f"{len(skipped)} images could not be read and were skipped; skipped.json says why"
        )
    for note in notes:
        ctx.progress.note(note)
    return {
        "name": source.name,
        "classes": len(source.classes),
        "shots": data.shots,
        "train_images": len(shots),
        "test_images": counts["test"],
        "domain": source.domain,
        "domains": {domain: counts[f"test_{domain}"] for domain in source.others},
        "skipped": len(skipped),
        "image_size": image.size,
        "cache_size": image.resize,
        "license": source.license,
        "notes": notes,
    }


def cache_spec(image: ImageSettings) -> PreprocessSpec:
    """The geometry of shots.npy: a square of the edge that the test images are resized to before
    their crop.
    """
    return PreprocessSpec(
        image.resize, image.resize, image.interpolation, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    )


def eval_spec(image: ImageSettings) -> PreprocessSpec:
    """The geometry of test.npy."""
    return PreprocessSpec(
        image.size, image.resize, image.interpolation, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    )


class _Reader:
    """Decodes images on threads, in order; what cannot be read is None and goes on the list."""

    def __init__(
        self,
        split: Split,
        spec: PreprocessSpec,
        pool: ThreadPoolExecutor,
        skipped: list[dict[str, str]],
    ) -> None:
        self._split, self._spec, self._pool, self._skipped = split, spec, pool, skipped

    def __call__(self, indices: Sequence[int]) -> list[np.ndarray | None]:
        """Pixels uint8 (edge, edge, 3) of each image."""
        out: list[np.ndarray | None] = []
        for index, result in zip(indices, self._pool.map(self._read, indices), strict=True):
            if isinstance(result, str):
                self._skipped.append({"key": self._split.key(index), "reason": result})
            out.append(None if isinstance(result, str) else result)
        return out

    def _read(self, index: int) -> np.ndarray | str:
        try:
            return geometry(self._split.image(index), self._spec)
        except ImageError as error:
            where = self._split.load(
                index
            )  # a path says nothing the key does not say, and differs between machines
            return str(error).replace(str(where), "file") if isinstance(where, Path) else str(error)


def _write_shots(ctx: StageContext, source: Source, read: _Reader) -> list[str]:
    """Writes shots.npy and shots.json; the keys of the shots."""
    edge, shots = ctx.settings.image.resize, ctx.settings.data.shots
    listed: list[dict[str, Any]] = []
    total = len(source.train) if shots == "all" else shots * len(source.classes)
    with (
        RowWriter(ctx.folder / "shots.npy", (edge, edge, 3)) as file,
        ctx.progress.task("read shots", total=total, unit="image") as task,
    ):
        if shots:
            for label, index, pixels in draw_shots(
                source.train, source.names, shots, ctx.settings.seed, read
            ):
                file.append(pixels)
                listed.append({"key": source.train.key(index), "label": label})
                task.advance()
    write_json(ctx.folder / "shots.json", listed)
    return [row["key"] for row in listed]


def _write_test(
    ctx: StageContext, source: Source, name: str, test: Split, read: _Reader
) -> list[str]:
    """Writes ``<name>.npy`` and ``<name>.json``; the keys of the images."""
    edge, what = ctx.settings.image.size, f"{name.replace('_', ' ', 1)} images"
    listed: list[dict[str, Any]] = []
    with (
        RowWriter(ctx.folder / f"{name}.npy", (edge, edge, 3)) as file,
        ctx.progress.task(f"read {what}", total=len(test), unit="image") as task,
    ):
        for window in _windows(len(test)):
            for index, pixels in zip(window, read(window), strict=True):
                if pixels is not None:
                    file.append(pixels)
                    listed.append({"key": test.key(index), "label": int(test.labels[index])})
            task.advance(len(window))
    if len(listed) < (1 - MOST_UNREADABLE) * len(test):
        raise DataError(
            f"most of the {what} cannot be read",
            got=f"{len(listed)} readable of {len(test)}",
            remedy=f"check that the dataset is complete, e.g. {test.key(0)}",
        )
    lost = set(test.labels.tolist()) - {entry["label"] for entry in listed}
    if lost:
        names = ", ".join(source.names[label] for label in sorted(lost))
        raise DataError(
            f"a class has no readable image among the {what}",
            got=names,
            remedy="replace its images",
        )
    write_json(ctx.folder / f"{name}.json", listed)
    return [row["key"] for row in listed]


def refuse_leaks(shots: Iterable[str], tests: Iterable[str], name: str) -> None:
    """No image may be both a shot and a test image; a reader that lists one twice would make every
    accuracy a lie.

    Raises:
        DataError: names the first images that are.
    """
    both = sorted(set(shots) & set(tests))
    if both:
        raise DataError(
            f"{len(both)} images are shots and in {name} too",
            got=", ".join(both[:4]),
            expected="no image on both sides",
            remedy="this is a bug of the dataset's reader: please report it",
        )


def _limited(split: Split, names: Sequence[str], limit: int) -> Split:
    return split.subset(stratified_part(split, names, limit)) if limit < len(split) else split


def _windows(count: int) -> Iterator[range]:
    return (range(start, min(start + WINDOW, count)) for start in range(0, count, WINDOW))
