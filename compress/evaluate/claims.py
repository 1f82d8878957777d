"""What may be said of two models by what was measured, and what the interval does not allow."""

from __future__ import annotations

from typing import Literal

from compress.evaluate.comparison import PairedComparison

MIN_IMAGES = 30  # test images below which nothing is said of an accuracy or a difference
Claim = Literal["above", "below", "open", "too few"]


def claim(compared: PairedComparison) -> Claim:
    """Whether the first model of a comparison is above or below the second.

    "open": the 95 % interval of the difference holds zero, so that the two cannot be told apart.
    "too few": fewer than ``MIN_IMAGES`` test images, whatever the interval says.
    """
    if compared.n is not None and compared.n < MIN_IMAGES:
        return "too few"
    low, high = compared.ci95
    return "above" if low > 0 else "below" if high < 0 else "open"


def too_few(images: int) -> str | None:
    """That so many test images measure nothing, in a sentence without an end; None if they do."""
    if not 0 < images < MIN_IMAGES:
        return None
    are = "1 test image is" if images == 1 else f"{images} test images are"
    return f"{are} too few to measure accuracy: one answer is {100 / images:.0f} points of it"
