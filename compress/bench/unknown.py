"""Images of no class that a person has: ``bench.unknown``, a folder that rejection is measured on.

They take part in no choice: score and threshold are set when the bundle is exported.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from compress.data.folders.walk import fingerprint_files, takes_part, walk
from compress.engine.config import Settings
from compress.engine.errors import DataError
from compress.engine.preflight import Before, Check
from runtime.errors import ImageError
from runtime.preprocess import Geometry, decode, geometry

MOST = 256  # images of the folder, spread evenly


def fingerprint(settings: Settings) -> dict[str, str]:
    """The content of the folder, as a part of the identity of the stage."""
    folder = settings.bench.unknown
    there = folder is not None and folder.is_dir()
    return {"unknown": fingerprint_files(folder)} if folder is not None and there else {}


def checks(before: Before) -> Iterator[Check]:
    """A folder that is named holds images."""
    if before.settings.bench.unknown is not None:
        yield partial(_require_images, before.settings)


def _require_images(settings: Settings) -> None:
    folder = settings.bench.unknown
    if folder is None:
        return
    found = folder.is_dir() and any(takes_part(path, folder) for path in walk(folder))
    if not found:
        raise DataError(
            f"bench.unknown={folder} holds no image",
            got="an empty folder" if folder.is_dir() else "no folder",
            expected="a folder of images that show none of the classes",
        )


def unknown_images(settings: Settings, shape: Geometry) -> NDArray[np.uint8] | None:
    """Up to ``MOST`` images ``(N, S, S, 3)`` of the folder; None without one that can be read."""
    folder = settings.bench.unknown
    if folder is None:
        return None
    _require_images(settings)
    files = [path for path in walk(folder) if takes_part(path, folder)]
    places = np.unique(np.linspace(0, len(files) - 1, min(MOST, len(files))).astype(int))
    read = []
    for place in places:
        try:
            read.append(geometry(decode(files[place]), shape))
        except ImageError:
            continue
    return np.stack(read) if read else None
