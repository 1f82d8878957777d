"""Images of no class."""

from __future__ import annotations

import numpy as np
import pytest

from export.confidence.outliers import MAKERS, outliers

EDGE = 48
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 60, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_same_seed_gives_the_same_images_and_another_one_others(kind: str) -> None:
    first, again, other = (outliers(kind, 6, EDGE, IMAGES, seed) for seed in (1, 1, 2))
    assert first.shape == (6, EDGE, EDGE, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=(1, 2, 3)).all(), "every image changes with the seed"
    assert len({image.tobytes() for image in first}) == 6
    np.testing.assert_array_equal(outliers(kind, 3, EDGE, IMAGES, 1), first[:3])


def test_flat_frames_are_flat_and_some_are_black_or_white() -> None:
    frames = outliers("flat", 60, EDGE, IMAGES, 0).astype(float)
    means = frames.mean(axis=(1, 2)).max(axis=1)
    assert means.min() < 20 and frames.mean(axis=(1, 2)).min(axis=1).max() > 235
    steps = np.abs(np.diff(frames, axis=1)).mean(axis=(1, 2, 3))
    assert steps.max() < 12, "grain alone lies between neighbors"


def test_patches_are_pieces_of_several_images() -> None:
    shades = np.stack([np.full((60, 60, 3), 20 * (i + 1), np.uint8) for i in range(5)])
    made = outliers("patches", 20, EDGE, shades, 0)
    assert set(np.unique(made)) == {20, 40, 60, 80, 100}
    assert min(len(np.unique(image)) for image in made) > 1


def test_noise_has_no_place_that_looks_like_its_neighbor() -> None:
    made = outliers("noise", 30, EDGE, IMAGES, 0).astype(float)
    for image in made[:10]:
        plain = image[::4, ::4].mean(axis=2)
        assert abs(np.corrcoef(plain[1:].ravel(), plain[:-1].ravel())[0, 1]) < 0.5
