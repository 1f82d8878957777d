"""How well a score tells wanted images from others: a higher score speaks for a wanted one.

Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in
Neural Networks", ICLR 2017 (AUROC); Liang, Li and Srikant, ICLR 2018 (FPR at 95 % TPR).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from compress.evaluate.metrics import FRACTION, SOME, Floats

SHARE = 0.95


@dataclass(frozen=True)
class Detection:
    """Wanted images against others of one kind.

    Attributes:
        wanted, others: images.
        auroc: the chance that a wanted image scores higher than another one; ties count half.
        fpr95: share of the others at or above the score that 95 % of the wanted images reach.
    """

    wanted: int = field(metadata=SOME)
    others: int = field(metadata=SOME)
    auroc: float = field(metadata=FRACTION)
    fpr95: float = field(metadata=FRACTION)


def detection(wanted: Floats, others: Floats, share: float = SHARE) -> Detection:
    """Compares scores (N,) of wanted images with scores (M,) of others; ValueError without any."""
    return Detection(
        len(wanted), len(others), auroc(wanted, others), false_positives(wanted, others, share)
    )


def auroc(wanted: Floats, others: Floats) -> float:
    """The area under the curve, by Mann and Whitney's rank sum."""
    from scipy.stats import rankdata

    if not len(wanted) or not len(others):
        raise ValueError(f"both sides need images, got {len(wanted)} and {len(others)}")
    ranks = rankdata(np.concatenate([wanted, others]))
    least = len(wanted) * (len(wanted) + 1) / 2
    return float((ranks[: len(wanted)].sum() - least) / (len(wanted) * len(others)))


def threshold_for(wanted: Floats, share: float = SHARE) -> float:
    """The highest score that at least ``share`` of the wanted images reach."""
    ordered = np.sort(wanted)
    allowed = int(np.floor((1 - share) * len(ordered) + 1e-9))  # wanted images that may be lost
    return float(ordered[min(allowed, len(ordered) - 1)])


def false_positives(wanted: Floats, others: Floats, share: float = SHARE) -> float:
    """Share of the others at or above the threshold that keeps ``share`` of the wanted images."""
    return float((np.asarray(others) >= threshold_for(wanted, share)).mean())
