"""How different the images of a class are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def within_class_diversity(features: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean over classes of the mean of ``1 - cos`` over all pairs of a class's unit features ``(N, D)``.

    Classes with fewer than two images are left out; without any other the result is 0. Cost is linear in N: the sum over
    pairs of a class is ``(|sum of its features|^2 - n) / 2``.
    """
    means = []
    for class_id in np.unique(labels):
        rows = np.asarray(features[labels == class_id], np.float64)
        n = len(rows)
        if n > 1:
            total = rows.sum(0)
            means.append(1 - (total @ total - (rows * rows).sum()) / (n * (n - 1)))
    return float(np.mean(means)) if means else 0.0
