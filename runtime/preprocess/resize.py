"""Resize and crop: which pixels of an image a model sees; in integers, alike everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from runtime.errors import SHOWN, BundleError

MAX_SIDE = 4096  # of the resized image, in pixels
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Geometry:
    """Which square of an image is taken, and how it is resized.

    Attributes:
        size: edge S of the square, in pixels.
        resize: edge that the shorter side is resized to before the crop, in pixels; at least
            ``size``.
        interpolation: "bicubic" or "bilinear", both with Pillow's antialiasing.

    Raises:
        BundleError: a value that no geometry can have.
    """

    size: int
    resize: int
    interpolation: str

    def __post_init__(self) -> None:
        for name in ("size", "resize"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIDE:
                raise BundleError(
                    f"preprocess {name}",
                    got=repr(value)[:SHOWN],
                    expected=f"an integer in 1..{MAX_SIDE}",
                )
        if self.resize < self.size:
            raise BundleError(
                "preprocess resize", got=self.resize, expected=f"at least size, {self.size}"
            )
        if not isinstance(self.interpolation, str) or self.interpolation not in INTERPOLATIONS:
            got = repr(self.interpolation)[:SHOWN]
            raise BundleError(
                "preprocess interpolation", got=got, expected=" or ".join(INTERPOLATIONS)
            )

    @property
    def geometry(self) -> Geometry:
        """The geometry alone, to be compared with another."""
        return Geometry(self.size, self.resize, self.interpolation)


def geometry(image: Image.Image, spec: Geometry) -> np.ndarray:
    """The central square of an RGB image, uint8 (S, S, 3).

    The shorter side becomes ``resize`` and the longer one ``long * resize // short`` (smaller
    images are enlarged); the crop starts at half of what is left over, rounded half to even, as
    torchvision does, but in integers.
    """
    width, height = image.size
    short = min(width, height)
    target = (width * spec.resize // short, height * spec.resize // short)
    # Rows first, always: since Pillow 13 one call begins with the columns of tall images, and
    # rounds elsewhere.
    for step in ((target[0], height), target):
        if step != image.size:
            image = image.resize(step, INTERPOLATIONS[spec.interpolation])
    if target != (spec.size, spec.size):
        left, top = _crop_start(target[0] - spec.size), _crop_start(target[1] - spec.size)
        image = image.crop((left, top, left + spec.size, top + spec.size))
    return np.asarray(image)


def _crop_start(left_over: int) -> int:
    """``left_over / 2`` rounded half to even."""
    return (left_over + (left_over >> 1 & 1)) >> 1
