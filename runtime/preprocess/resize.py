"""Resize and crop: which pixels of an image a model sees; in integers, alike everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from runtime.errors import SHOWN, BundleError, ImageError

MAX_SIDE = 4096  # of the resized image, in pixels
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Geometry:
    """Which square of an image a model sees; a value out of range raises a BundleError."""

    size: int  # edge S of the square, in pixels
    resize: int  # length of the shorter side before the crop, in pixels; at least ``size``
    interpolation: str  # "bicubic" or "bilinear", both with Pillow's antialiasing

    def __post_init__(self) -> None:
        for name in ("size", "resize"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIDE:
                expected = f"an integer in 1..{MAX_SIDE}"
                raise BundleError(f"preprocess {name}", got=repr(value)[:SHOWN], expected=expected)
        if self.resize < self.size:
            expected = f"at least size, {self.size}"
            raise BundleError("preprocess resize", got=self.resize, expected=expected)
        if not isinstance(self.interpolation, str) or self.interpolation not in INTERPOLATIONS:
            got = repr(self.interpolation)[:SHOWN]
            either = " or ".join(INTERPOLATIONS)
            raise BundleError("preprocess interpolation", got=got, expected=either)

    @property
    def geometry(self) -> Geometry:
        """The geometry alone, for comparison with another."""
        return Geometry(self.size, self.resize, self.interpolation)


def geometry(image: Image.Image, spec: Geometry) -> np.ndarray:
    """The central square of an RGB image, uint8 (S, S, 3).

    The shorter side becomes ``resize`` and the longer one ``long * resize // short`` (smaller
    images are enlarged); the crop starts at half of what is left over, rounded half to even, as
    torchvision does, but in integers.

    Raises: ImageError: no PIL image.
    """
    if not isinstance(image, Image.Image):
        got = type(image).__name__
        raise ImageError("image to crop", got=got, expected="a PIL image, as decode gives")
    width, height = image.size
    short = min(width, height)
    target = (width * spec.resize // short, height * spec.resize // short)
    # Rows first, always: since Pillow 13 a single call starts with a tall image's columns and
    # rounds elsewhere.
    for step in ((target[0], height), target):
        if step != image.size:
            image = image.resize(step, INTERPOLATIONS[spec.interpolation])
    if target != (spec.size, spec.size):
        left_over = (target[0] - spec.size, target[1] - spec.size)
        left, top = ((pixels + (pixels >> 1 & 1)) >> 1 for pixels in left_over)
        image = image.crop((left, top, left + spec.size, top + spec.size))
    return np.asarray(image)
