"""The geometries of a run's images: as shots, as test images, and as another model sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.engine.config import ImageSettings
from runtime.preprocess import Geometry, geometry


def shot_geometry(image: ImageSettings) -> Geometry:
    """The square of the edge that test images are resized to before their crop."""
    return Geometry(image.resize, image.resize, image.interpolation)


def eval_geometry(image: ImageSettings) -> Geometry:
    """The geometry of the test images, which is the student's."""
    return Geometry(image.size, image.resize, image.interpolation)


def crop_of_shot(
    shot: NDArray[np.uint8], size: tuple[int, int], spec: Geometry
) -> NDArray[np.uint8]:
    """What ``geometry`` gives for ``eval_geometry``, cut from an image's shot without a resize.

    Args:
        size: width and height of the image.
    """
    short = min(size)
    longer = [side * spec.resize // short for side in size]
    left, top = (round((n - spec.size) / 2) - round((n - spec.resize) / 2) for n in longer)
    return shot[top : top + spec.size, left : left + spec.size]


def fit_geometry(images: NDArray[np.uint8], spec: Geometry) -> NDArray[np.uint8]:
    """Images ``(B, H, W, 3)`` at a model's size; the same array if they have it already."""
    if images.shape[1:3] == (spec.size, spec.size):
        return images
    return np.stack([geometry(Image.fromarray(image), spec) for image in images])
