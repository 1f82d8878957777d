"""The run's test sets as a model wants them: "test", and "test_<domain>" for every further
domain.
"""

from __future__ import annotations

import json
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.data.sources import open_source
from compress.data.split import Source, Split
from compress.engine.stage import StageContext
from runtime import PreprocessSpec, geometry

TEST = "test"  # the run's own test split


class TestSets:
    """Reads what the data stage wrote; the source itself is opened only where a model wants another
    geometry.
    """

    __test__ = False  # pytest: not a test class

    def __init__(self, ctx: StageContext) -> None:
        self._folder, self._settings = ctx.inputs["data"].path, ctx.settings.data
        facts = ctx.inputs["data"].facts
        self.own: str | None = facts.get("domain")
        self.domains: dict[str, str] = {
            f"{TEST}_{domain}": domain for domain in sorted(facts.get("domains") or {})
        }
        self.names = (TEST, *self.domains)
        self.rows = cache(self._rows)
        self.originals = cache(self._originals)

    def labels(self, name: str) -> NDArray[np.int64]:
        """Class numbers (N,) of a test set."""
        return np.asarray([row["label"] for row in self.rows(name)], np.int64)

    def stored(self, name: str) -> NDArray[np.uint8]:
        """Pixels (N, S, S, 3) in the student's geometry, memory-mapped."""
        pixels: NDArray[np.uint8] = np.load(self._folder / f"{name}.npy", mmap_mode="r")
        return pixels

    def pixels(
        self, name: str, start: int, end: int, wanted: PreprocessSpec, student: PreprocessSpec
    ) -> NDArray[np.uint8]:
        """Images ``start`` to ``end``, (B, S, S, 3), in a model's geometry: as stored where that is
        the student's.
        """
        if same_geometry(wanted, student):
            return np.asarray(self.stored(name)[start:end])
        originals = self.originals(name)
        return np.stack([geometry(originals.image(i), wanted) for i in range(start, end)])

    def _rows(self, name: str) -> list[dict[str, Any]]:
        loaded: list[dict[str, Any]] = json.loads((self._folder / f"{name}.json").read_text())
        return loaded

    def _originals(self, name: str) -> Originals:
        split = (
            self._source.others[self.domains[name]] if name in self.domains else self._source.test
        )
        return Originals(split, [row["key"] for row in self.rows(name)])

    @cached_property
    def _source(self) -> Source:
        return open_source(self._settings)


class Originals:
    """Test images as they lie in the source, by their row in the test set's list."""

    def __init__(self, split: Split, keys: list[str]) -> None:
        self._split = split
        rows = {split.key(i): i for i in range(len(split))}
        self._rows = [rows[key] for key in keys]

    def image(self, row: int) -> Image.Image:
        """Image ``row``, upright RGB (PIL)."""
        return self._split.image(self._rows[row])


def same_geometry(a: PreprocessSpec, b: PreprocessSpec) -> bool:
    """Whether two specs cut the same pixels (mean and std do not matter)."""
    return (a.size, a.resize, a.interpolation) == (b.size, b.resize, b.interpolation)
