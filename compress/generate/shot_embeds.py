"""The generator's raw embeddings of the run's shots: every shot is encoded once per generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.engine.partial import kept
from compress.generate.artifact import shot_embeds_files, shot_embeds_path
from compress.generate.generators.generator import Generator


class ShotEmbeds:
    """Encodes on first use and caches in memory and on disk, for resumed runs.

    Args:
        shots: ``(n, C, C, 3)`` uint8.
        folder: one file per generator; None: in memory only.
    """

    def __init__(self, shots: NDArray[np.uint8], folder: Path | None) -> None:
        self.shots = shots
        self.folder = folder
        self._cache: dict[str, NDArray[np.float32]] = {}

    def of(self, generator: Generator, batch: int) -> NDArray[np.float32]:
        """``(n, E)``, encoded ``batch`` shots at a time."""
        cached = self.cached(generator.name)
        if cached is not None:
            return cached
        starts = range(0, len(self.shots), batch)
        parts = [generator.embed_images(self.shots[start : start + batch]) for start in starts]
        embeds = np.concatenate([np.empty((0, generator.embed_dim), np.float32), *parts])
        if self.folder is not None:
            target = shot_embeds_path(self.folder, generator.name)
            with kept(target) as path, path.open("wb") as file:
                np.save(file, embeds, allow_pickle=False)
        return self._cache.setdefault(generator.name, embeds)

    def cached(self, generator: str) -> NDArray[np.float32] | None:
        """``(n, E)`` by the generator's name, or None if it has not encoded the shots."""
        if generator not in self._cache and self.folder is not None:
            path = shot_embeds_path(self.folder, generator)
            if path.exists():
                self._cache[generator] = np.load(path, allow_pickle=False)
        return self._cache.get(generator)

    def encoder_images(self) -> int:
        """Number of images encoded, over all generators and all attempts of a resumed run."""
        if self.folder is None:
            return sum(len(embeds) for embeds in self._cache.values())
        return sum(len(np.load(path, mmap_mode="r")) for path in shot_embeds_files(self.folder))
