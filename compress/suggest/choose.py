"""Chooses images to label: unsure answers, far from what is labeled and from each other.

One image after the other, greedily, the one with the largest

    uncertainty * distance

Uncertainty is that of the margin (Scheffer et al., IDA 2001): 1 - (p1 - p2). Distance is 1 - cosine
to the nearest class prototype or chosen image, the k-center rule of a core-set (Sener and Savarese,
ICLR 2018, arXiv 1708.00489). Uncertainty times coverage follows PCoreSet (arXiv 2506.00910), which
covers the space of answers, and CLUE (Prabhu et al., ICCV 2021, arXiv 2010.08666), which weights
clusters of features by entropy. Uncertainty alone picks near copies of one hard image; distance
alone picks odd ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """An image that is worth a label."""

    index: int
    score: float  # uncertainty * distance when it was chosen
    uncertainty: float  # 0 sure .. 1 two classes are equally likely
    distance: float  # 0 like a labeled or chosen one .. 2


def uncertainties(probabilities: Floats) -> Floats:
    """One less the margin between the two likeliest classes, (N,) of (N, K); 0 for one class."""
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    two = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(1 - (two[:, 1] - two[:, 0]))


def choose(features: Floats, uncertainty: Floats, known: Floats, count: int) -> list[Choice]:
    """At most ``count`` images, the most useful first; ties in their order.

    Args:
        features: unit rows (N, D); uncertainty: (N,).
        known: unit rows (K, D) of what is labeled, may be empty.
    """
    nearest = (features @ known.T).max(axis=1) if len(known) else np.zeros(len(features))
    left = np.ones(len(features), bool)
    chosen: list[Choice] = []
    while left.any() and len(chosen) < count:
        distance = np.clip(1 - nearest, 0, 2)
        # Rounded, so that last bits, which differ between processors, decide nothing.
        scores = np.where(left, np.round(uncertainty * distance, 6), -1)
        best = int(scores.argmax())
        about = (float(scores[best]), float(uncertainty[best]), float(distance[best]))
        chosen.append(Choice(best, *about))
        left[best] = False
        nearest = np.maximum(nearest, features @ features[best])
    return chosen
