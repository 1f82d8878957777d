"""What the data stage leaves, and the only place that knows its file names.

classes.json                  [{"name", "prompt", "category"}]; the order is the class number
shots.npy   shots.json        uint8 (K * k, C, C, 3) and [{"key", "label"}]: the shorter side
                              resized to C, central square; views are cut from it
test.npy    test.json         uint8 (N, S, S, 3): the runtime's own geometry, as on the device
test_<domain>.npy and .json   every further domain of data.test_domains, like test
skipped.json                  [{"key", "reason"}]
duplicates.json               [[{"set", "key", "class"}, ...], ...]: images that are equal, in
                              groups; only if there are any
summary.json                  counts, and all that was skipped, repaired, renamed, left out or
                              found twice, with paths: see DataSummary
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.data.rows import RowWriter
from compress.data.split import ClassInfo
from compress.data.summary import FILE as FILE_OF_SUMMARY
from compress.data.summary import DataSummary
from compress.engine.store import write_json

SHOTS = "shots"  # the names of two image sets
TEST = "test"
CLASSES = "classes.json"
SKIPPED = "skipped.json"
DUPLICATES = "duplicates.json"


@dataclass(frozen=True)
class ImageSet:
    """Images in a fixed order: memory-mapped (N, S, S, 3), class numbers (N,) and unique names."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    keys: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class DataArtifact:
    """The folder of a data stage, finished or being written."""

    folder: Path

    @cached_property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The classes in the order of their numbers."""
        return tuple(
            ClassInfo(**{**row, "synonyms": tuple(row.get("synonyms", ()))})
            for row in json.loads((self.folder / CLASSES).read_text(encoding="utf-8"))
        )

    @cached_property
    def skipped(self) -> tuple[Mapping[str, str], ...]:
        """Images that could not be read: ``key`` and ``reason``."""
        return tuple(json.loads((self.folder / SKIPPED).read_text(encoding="utf-8")))

    @property
    def skipped_file(self) -> Path:
        """Where ``skipped`` is written, also when a build stops on them."""
        return self.folder / SKIPPED

    @cached_property
    def duplicates(self) -> tuple[tuple[Mapping[str, str], ...], ...]:
        """Groups of equal images: ``set``, ``key`` and ``class`` of each."""
        file = self.folder / DUPLICATES
        groups = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
        return tuple(map(tuple, groups))

    @cached_property
    def summary(self) -> DataSummary | None:
        """What was found, with paths; None in a folder of an older version."""
        file = self.folder / FILE_OF_SUMMARY
        if not file.exists():
            return None
        return DataSummary.from_json(json.loads(file.read_text(encoding="utf-8")))

    @cached_property
    def shots(self) -> ImageSet:
        """The labeled training images, at the cache's edge C."""
        return self.images(SHOTS)

    @property
    def test_sets(self) -> list[ImageSet]:
        """The test sets of all domains, the run's own first."""
        names = sorted(file.stem for file in self.folder.glob(f"{TEST}*.npy"))
        return [self.images(name) for name in names]

    def images(self, name: str) -> ImageSet:
        """An image set: ``shots``, ``test`` or ``test_<domain>``."""
        rows = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        return ImageSet(
            np.load(self.folder / f"{name}.npy", mmap_mode="r"),
            np.asarray([row["label"] for row in rows], np.int64),
            tuple(row["key"] for row in rows),
        )

    def pixel_writer(self, name: str, edge: int) -> RowWriter:
        """Writes the pixels of an image set row by row, uint8 (edge, edge, 3) each."""
        return RowWriter(self.folder / f"{name}.npy", (edge, edge, 3))

    def write_rows(self, name: str, keys: Iterable[str], labels: Iterable[int]) -> None:
        """Writes which image is in which row of an image set, once its pixels are written."""
        rows = [{"key": key, "label": label} for key, label in zip(keys, labels, strict=True)]
        write_json(self.folder / f"{name}.json", rows)

    def write_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Writes the classes in the order of their numbers."""
        rows = [asdict(entry) for entry in classes]
        for row in rows:
            if not row["synonyms"]:
                del row["synonyms"]
        write_json(self.folder / CLASSES, rows)

    def write_skipped(self, skipped: Sequence[Mapping[str, str]]) -> None:
        """Writes which images could not be read, and why."""
        write_json(self.skipped_file, list(skipped))

    def write_duplicates(self, groups: Sequence[Sequence[Mapping[str, str]]]) -> None:
        """Writes which images are equal, if any."""
        if groups:
            write_json(self.folder / DUPLICATES, [list(group) for group in groups])

    def write_summary(self, summary: DataSummary) -> None:
        """Writes what was found, with paths."""
        write_json(self.folder / FILE_OF_SUMMARY, summary.to_json())
