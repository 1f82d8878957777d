"""The map of images: groups lie together, any number of images has one, always the same."""

from __future__ import annotations

import numpy as np
import pytest

from compress.evaluate.embedding import MOST_IMAGES, map_of


def test_images_of_a_group_lie_together() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), 9)
    features = rng.normal(size=(8, 64))[labels] + 0.4 * rng.normal(size=(72, 64))
    places = map_of(features)
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(gaps, np.inf)
    assert (labels[gaps.argmin(axis=1)] == labels).mean() > 0.97
    assert np.array_equal(places, map_of(features))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 50, MOST_IMAGES])
def test_any_number_of_images_fits_into_the_unit_square(count: int) -> None:
    places = map_of(np.random.default_rng(0).normal(size=(count, 16)).astype(np.float16))
    assert places.shape == (count, 2) and np.isfinite(places).all()
    assert places.min() >= 0 and places.max() <= 1
    assert count == 1 or np.ptp(places, axis=0).max() == pytest.approx(1)


@pytest.mark.parametrize("features", [np.ones((7, 4)), np.zeros((6, 4)), np.ones((6, 1))])
def test_equal_images_have_a_place_too(features: np.ndarray) -> None:
    assert np.isfinite(map_of(features)).all()
