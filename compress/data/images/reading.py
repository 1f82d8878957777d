"""Reads the images of a split on threads: pixels, what was repaired, what cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compress.data.geometry import crop_of_shot
from compress.data.images.unreadable import Unreadable
from compress.data.split import Split
from runtime.errors import ImageError
from runtime.preprocess import Geometry, geometry
from runtime.preprocess.image_files import advice


class ReadImage(NamedTuple):
    """An image that could be read."""

    pixels: np.ndarray  # uint8 (edge, edge, 3)
    digest: bytes  # of what the student sees of it
    repaired: str | None


@dataclass(frozen=True)
class ImageReader:
    """Decodes images of a split on threads, in order; unreadable ones are None and listed.

    Attributes:
        spec: the geometry of the pixels.
        seen: that of the test images, in which images are compared.
        mends: whether images that were cut short are mended, as for training.
        repaired: key -> what was wrong with an image that was mended.
    """

    split: Split
    spec: Geometry
    seen: Geometry
    threads: ThreadPoolExecutor
    unreadable: Unreadable
    mends: bool = False
    repaired: dict[str, str] = field(default_factory=dict)

    def __call__(self, indices: Sequence[int]) -> list[ReadImage | None]:
        """Each image, or None."""
        results = list(self.threads.map(self._read, indices))
        for index, result in zip(indices, results, strict=True):
            if isinstance(result, str):
                self.unreadable.add(self.split.keys[index], result)
            elif result.repaired is not None:
                self.repaired[self.split.keys[index]] = result.repaired
        return [None if isinstance(result, str) else result for result in results]

    def why(self, indices: Sequence[int]) -> str:
        """Why images at some indices could not be read."""
        return self.unreadable.why(self.split.keys[index] for index in indices)

    def _read(self, index: int) -> ReadImage | str:
        try:
            split = self.split
            image, repaired = split.read(index) if self.mends else (split.image(index), None)
            pixels = geometry(image, self.spec)
        except ImageError as error:
            return reason_of(error, self.split.load(index))
        shown = pixels if self.spec == self.seen else crop_of_shot(pixels, image.size, self.seen)
        return ReadImage(pixels, digest_of(shown), repaired)


def reason_of(error: ImageError, where: Any) -> str:
    """Why an image cannot be read, without its path, and what it is instead."""
    if not isinstance(where, Path):
        return str(error)
    # the key says it already, and a path differs between machines
    reason = str(error).replace(repr(str(where)), "file").replace(str(where), "file")
    hint = advice(where)
    return f"{reason} · {hint}" if hint else reason


def digest_of(pixels: NDArray[np.uint8]) -> bytes:
    """SHA-256 of an image's pixels."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).digest()
