"""The generator's raw embeddings of the run's shots: every shot is encoded once, whoever asks and
however often.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.engine.store import sha256_text

if TYPE_CHECKING:
    from compress.generate.base import Generator


class ShotEmbeds:
    """Computes on first use and keeps, in memory and on disk, so that a resumed run does not encode
    again.

    Args:
        shots: ``(n, C, C, 3)`` uint8.
        folder: where the embeddings are kept, one file per generator; None keeps them in memory
            only.
    """

    def __init__(self, shots: NDArray[np.uint8], folder: Path | None) -> None:
        self.shots, self.folder = shots, folder
        self._made: dict[str, NDArray[np.float32]] = {}

    def of(self, generator: Generator, batch: int) -> NDArray[np.float32]:
        """``(n, E)``, encoded in batches of ``batch``."""
        kept = self.kept(generator.name)
        if kept is not None:
            return kept
        starts = range(0, len(self.shots), batch)
        parts = [
            np.asarray(generator.embed_images(self.shots[start : start + batch]))
            for start in starts
        ]
        made = np.concatenate(parts) if parts else np.empty((0, generator.embed_dim), np.float32)
        if self.folder is not None:
            with self._path(generator.name).with_suffix(".tmp").open("wb") as file:
                np.save(file, made, allow_pickle=False)
            os.replace(file.name, self._path(generator.name))
        return self._made.setdefault(generator.name, made)

    def kept(self, generator: str) -> NDArray[np.float32] | None:
        """``(n, E)`` by the generator's name, or None if it has not encoded them."""
        if (
            generator not in self._made
            and self.folder is not None
            and self._path(generator).exists()
        ):
            self._made[generator] = np.load(self._path(generator), allow_pickle=False)
        return self._made.get(generator)

    def encoder_images(self) -> int:
        """How many images were given to an image encoder, over all generators and all attempts that
        were resumed.
        """
        if self.folder is None:
            return sum(len(embeds) for embeds in self._made.values())
        return sum(
            len(np.load(file, mmap_mode="r")) for file in self.folder.glob("shot_embeds_*.npy")
        )

    def _path(self, generator: str) -> Path:
        assert self.folder is not None
        return self.folder / f"shot_embeds_{sha256_text(generator)[:16]}.npy"
