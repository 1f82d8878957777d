"""How varied generated images are, and how far from real ones, in the teacher's feature space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compress.evaluate.metrics import Floats, Ints


def within_class_diversity(features: Floats, labels: Ints) -> float | None:
    """Mean over classes of the mean pairwise ``1 - cos``: 0 = all the same, about 1 = unrelated.

    For n unit rows f the mean over pairs is exactly ``1 - (|Σ f|² - n) / (n (n - 1))``.
    Features are (N, D), labels (N,); None if no class has two images.
    """
    values = []
    for k in np.unique(labels):
        members = _unit(features[labels == k])
        n = len(members)
        total = members.sum(axis=0)
        if n > 1:
            values.append(1.0 - (float(total @ total) - n) / (n * (n - 1)))
    return float(np.mean(values)) if values else None


def domain_gap(
    synthetic: Floats, synthetic_labels: Ints, real: Floats, real_labels: Ints
) -> float | None:
    """Mean over classes of ``1 - cos`` between the mean directions of synthetic and real images.

    Features are (N, D). Classes with only one kind are left out; None if no class has both.
    """
    gaps = []
    for k in np.intersect1d(synthetic_labels, real_labels):
        each = (synthetic[synthetic_labels == k], real[real_labels == k])
        one, other = (_unit(_unit(features).mean(axis=0)) for features in each)
        gaps.append(1.0 - float(one @ other))
    return float(np.mean(gaps)) if gaps else None


def _unit(rows: Floats) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    out: NDArray[np.float64] = wide / np.linalg.norm(wide, axis=-1, keepdims=True)
    return out
