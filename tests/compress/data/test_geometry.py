"""The geometries of a run: shots and test images come from one resize."""

from __future__ import annotations

import numpy as np
from PIL import Image

from compress.data.geometry import eval_geometry, fit_geometry, shot_geometry
from compress.engine.config import ImageSettings
from runtime.preprocess import Geometry, geometry


def test_a_test_image_is_the_central_crop_of_its_shot() -> None:
    settings = ImageSettings(size=32, crop_pct=0.8)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 75, 3), dtype=np.uint8)
    shot, test = (
        geometry(Image.fromarray(pixels), spec)
        for spec in (shot_geometry(settings), eval_geometry(settings))
    )
    assert (shot.shape, test.shape) == ((40, 40, 3), (32, 32, 3))
    np.testing.assert_array_equal(shot[4:36, 4:36], test)


def test_images_that_have_the_size_already_are_not_copied() -> None:
    images = np.zeros((2, 16, 16, 3), np.uint8)
    assert fit_geometry(images, Geometry(16, 16, "bicubic")) is images
    assert fit_geometry(images, Geometry(24, 24, "bicubic")).shape == (2, 24, 24, 3)
