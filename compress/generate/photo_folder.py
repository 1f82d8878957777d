"""A folder of photos without labels, as the tool of a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.data.folders.walk import takes_part, walk
from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, DataError
from compress.engine.seeds import numpy_rng
from compress.engine.store import sha256_text
from compress.engine.text import user_path
from runtime import Geometry, geometry
from runtime.errors import ImageError
from runtime.preprocess import decode


class PhotoFolder:
    """The photos below a folder, in an order of its own that is the same everywhere.

    Attributes:
        image_size: 0, since each photo has its own.
    """

    license = "of the photos' owners"
    image_size = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"photos of {folder.name}"

    @cached_property
    def files(self) -> list[Path]:
        """Every photo, shuffled with seed 0; ConfigError without any."""
        found = [path for path in walk(self.folder) if takes_part(path, self.folder)]
        if not found:
            raise ConfigError(
                "there is no photo in the folder of unlabeled photos", got=self.folder
            )
        return [found[row] for row in numpy_rng(0, "unlabeled").permutation(len(found))]

    def fingerprint(self) -> str:
        """Of the photos' names and sizes."""
        rows = sorted((path.relative_to(self.folder).as_posix(), path) for path in self.files)
        return sha256_text("\n".join(f"{name} {path.stat().st_size}" for name, path in rows))

    def read(self, numbers: Sequence[int], spec: Geometry) -> tuple[NDArray[np.uint8], list[Path]]:
        """The photos ``(B, S, S, 3)`` of these numbers and their files, which start again after
        the last. The next one stands in for a file that cannot be read.

        Raises:
            DataError: none can be read.
        """
        read = [self._readable(number, spec) for number in numbers]
        return np.stack([pixels for pixels, _ in read]), [path for _, path in read]

    def _readable(self, number: int, spec: Geometry) -> tuple[NDArray[np.uint8], Path]:
        count = len(self.files)
        for step in range(count):
            path = self.files[(number + step) % count]
            try:
                return geometry(decode(path), spec), path
            except ImageError:
                continue
        raise DataError("no unlabeled photo can be read", got=f"{count} files in {self.folder}")


def folder_of(settings: GenerateSettings) -> PhotoFolder:
    """The folder that ``generate.generator`` names; ConfigError without it."""
    folder = user_path(settings.generator)
    if not folder.is_dir():
        raise ConfigError(
            "there is no folder of unlabeled photos",
            got=f"generate.generator={settings.generator}",
            expected="--generator FOLDER, any photos below it",
        )
    return PhotoFolder(folder)


def missing(settings: GenerateSettings, online: bool) -> str | None:
    """The folder, where it is not there: nothing fetches it."""
    del online
    folder = user_path(settings.generator)
    return None if folder.is_dir() else f"unlabeled photos: place them below {folder}"
