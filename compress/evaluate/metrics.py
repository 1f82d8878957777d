"""Accuracy of one model from its ``logits`` (N, K) and ``labels`` (N,).

Accuracies are fractions in [0, 1]; an interval is a pair ``(low, high)``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

ECE_BINS = 15  # Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2

# Bounds of fields under pydantic's names, by which report.json is checked.
FRACTION = {"ge": 0, "le": 1}
DIFFERENCE = {"ge": -1, "le": 1}
COUNT = {"ge": 0}
SOME = {"ge": 1}


@dataclass(frozen=True)
class ReliabilityBin:
    """One bar of a reliability diagram: images whose confidence lies in (low, high]."""

    low: float
    high: float
    count: int
    confidence: float | None  # mean of max softmax; None in an empty bin
    accuracy: float | None


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Class probabilities (N, K) of every row, in float64."""
    from scipy.special import softmax as scipy_softmax

    out: NDArray[np.float64] = scipy_softmax(logits.astype(np.float64), axis=1)
    return out


def top1(logits: Floats, labels: Ints) -> float:
    """Fraction of images whose largest logit is their label's: ``mean(argmax z = y)``."""
    check(logits, labels)
    return float((logits.argmax(axis=1) == labels).mean())


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a fraction: inside [0, 1], and at its level near 0 and 1.

    Wilson, JASA 22, 1927; recommended by Brown, Cai & DasGupta, Stat. Sci. 16, 2001.
    """
    from scipy.stats import binomtest

    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"a fraction needs 0 <= successes <= n and n >= 1, got {successes} of {n}")
    interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def confusion(predicted: Ints, labels: Ints, classes: int) -> NDArray[np.int64]:
    """Counts (K, K): row = true class, column = predicted class."""
    flat = np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def per_class_accuracy(matrix: NDArray[np.int64]) -> list[float | None]:
    """Recall of every class, ``C[k, k] / Σ_j C[k, j]``; None for a class without test images."""
    return [int(row[k]) / int(row.sum()) if row.sum() else None for k, row in enumerate(matrix)]


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """Mean of ``2 TP / (2 TP + FP + FN)`` over the classes that are present or predicted."""
    true_positives = matrix.diagonal().astype(np.float64)
    occurrences = (matrix.sum(axis=0) + matrix.sum(axis=1)).astype(np.float64)  # 2 TP + FP + FN
    seen = occurrences > 0
    return float((2 * true_positives[seen] / occurrences[seen]).mean())


def negative_log_likelihood(logits: Floats, labels: Ints) -> float:
    """Mean of ``-log softmax(z)_y`` in nats; finite even where a probability underflows."""
    from scipy.special import logsumexp

    check(logits, labels)
    z = logits.astype(np.float64)
    return float((logsumexp(z, axis=1) - z[np.arange(len(labels)), labels]).mean())


def reliability(logits: Floats, labels: Ints, bins: int = ECE_BINS) -> list[ReliabilityBin]:
    """Confidence against accuracy in M equal bins: bin m holds confidences in ((m-1)/M, m/M]."""
    check(logits, labels)
    confidence = softmax(logits).max(axis=1)
    right = logits.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    table = []
    for m in range(bins):
        inside = bin_of == m
        count = int(inside.sum())
        means = [float(values[inside].mean()) if count else None for values in (confidence, right)]
        table.append(ReliabilityBin(m / bins, (m + 1) / bins, count, *means))
    return table


def ece(table: list[ReliabilityBin]) -> float:
    """Expected calibration error ``Σ_m n_m/N |accuracy_m - confidence_m|`` (Guo et al., eq. 3)."""
    # the None of empty bins counts nothing
    gaps = (row.count * abs((row.accuracy or 0) - (row.confidence or 0)) for row in table)
    return sum(gaps) / sum(row.count for row in table)


def evaluate(logits: Floats, labels: Ints) -> dict[str, Any]:
    """All metrics of a model, JSON-able; ValueError as ``check`` raises it.

    n, correct, top1, ci95 [low, high] (Wilson), macro_f1, ece, nll, per_class (K values or None),
    confusion (K rows of K counts, row = true class) and reliability (a list of bins).
    """
    check(logits, labels)
    predicted = logits.argmax(axis=1)
    n = len(labels)
    matrix = confusion(predicted, labels, logits.shape[1])
    correct = int(matrix.trace())
    table = reliability(logits, labels)
    return {
        "n": n,
        "correct": correct,
        "top1": correct / n,
        "ci95": list(wilson(correct, n)),
        "macro_f1": macro_f1(matrix),
        "ece": ece(table),
        "nll": negative_log_likelihood(logits, labels),
        "per_class": per_class_accuracy(matrix),
        "confusion": matrix.tolist(),
        "reliability": [asdict(row) for row in table],
    }


def check(logits: Floats, labels: Ints) -> None:
    """Raises ValueError for shapes or values that no metric is defined on."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits must be (N, K), labels (N,); got {logits.shape}, {labels.shape}")
    if not len(labels):
        raise ValueError("there are no images to evaluate")
    last = logits.shape[1] - 1
    if labels.min() < 0 or labels.max() > last:
        raise ValueError(f"labels must be 0..{last}, got {labels.min()}..{labels.max()}")
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        raise ValueError(f"logits must be finite, image {bad[0]} has {logits[bad[0]]}")
