"""Dead leaves: as drawn from a seed, with the statistics of photos."""

from __future__ import annotations

import numpy as np

from compress.generate.dead_leaves import EDGE, DeadLeaves, dead_leaves


def test_a_seed_decides_the_picture_alone() -> None:
    first, again = dead_leaves(64, 3), DeadLeaves().draw([3, 4])
    assert first.shape == (64, 64, 3) and first.dtype == np.uint8
    assert again.shape == (2, EDGE, EDGE, 3) and not np.array_equal(again[0], again[1])
    assert np.array_equal(again[1], dead_leaves(EDGE, 4))


def test_the_spectrum_falls_as_that_of_photos() -> None:
    """Amplitude about 1 / frequency; that of white noise would be flat."""
    gray = np.stack([dead_leaves(128, seed) for seed in range(16)]).mean(axis=-1)
    spectrum = np.abs(np.fft.fft2(gray - gray.mean(axis=(1, 2), keepdims=True))).mean(axis=0)
    rows, columns = np.meshgrid(*[np.fft.fftfreq(128) * 128] * 2, indexing="ij")
    radius = np.hypot(rows, columns)
    rings = [2, 4, 8, 16, 32]
    amplitude = [spectrum[(radius >= low) & (radius < 2 * low)].mean() for low in rings]
    slope = np.polyfit(np.log(rings), np.log(amplitude), 1)[0]
    assert -1.6 < slope < -0.7


def test_pictures_differ_in_brightness_and_contrast() -> None:
    pictures = np.stack([dead_leaves(64, seed) for seed in range(24)]).astype(float)
    assert np.ptp(pictures.mean(axis=(1, 2, 3))) > 60
    assert pictures.std(axis=(1, 2, 3)).max() > 2 * pictures.std(axis=(1, 2, 3)).min()
