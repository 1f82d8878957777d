"""A difference is claimed only where its interval excludes zero, never of a handful of images."""

from __future__ import annotations

import pytest

from compress.evaluate.claims import MIN_IMAGES, claim, too_few
from compress.evaluate.comparison import PairedComparison, mcnemar_exact, score_interval


def compared(only_a: int, only_b: int, n: int) -> PairedComparison:
    """The comparison with these discordant counts."""
    p, ci95 = mcnemar_exact(only_a, only_b), score_interval(only_a, only_b, n)
    return PairedComparison(n, 0.9, only_a, only_b, p, (only_a - only_b) / n, ci95)


@pytest.mark.parametrize(
    ("only_a", "only_b", "n", "said"),
    [
        (20, 4, 200, "above"),
        (4, 20, 200, "below"),
        (8, 4, 200, "open"),
        (0, 0, 200, "open"),
        (2, 0, 8, "too few"),
        (8, 0, 8, "too few"),
        (MIN_IMAGES - 1, 0, MIN_IMAGES - 1, "too few"),
        (MIN_IMAGES, 0, MIN_IMAGES, "above"),
    ],
)
def test_what_is_claimed(only_a: int, only_b: int, n: int, said: str) -> None:
    assert claim(compared(only_a, only_b, n)) == said


def test_few_images_measure_nothing() -> None:
    assert too_few(0) is None and too_few(MIN_IMAGES) is None
    single = "1 test image is too few to measure accuracy: one answer is 100 points of it"
    assert too_few(1) == single
    assert too_few(25) is not None and "25 test images are too few" in str(too_few(25))
