"""Accuracy from logits: the same few functions for every form of a model, on NumPy alone.

Everything starts from ``logits`` (N, K) and ``labels`` (N,). Accuracies are fractions in [0, 1]; an
interval is a pair ``(low, high)``. A comparison of two forms is paired: both saw the same N images,
so the images they agree on carry no information about which is better, and an unpaired interval
would be needlessly wide.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.seeds import numpy_rng

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

Z95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal distribution
ECE_BINS = 15  # Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2
RESAMPLES = 10_000

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


@dataclass(frozen=True)
class Paired:
    """Form A against form B on the same images.

    Attributes:
        n: images.
        agreement: fraction with the same predicted class (right or wrong).
        only_a: images that only A classifies correctly; ``only_b`` likewise.
        mcnemar_p: exact two-sided p-value of "neither is better".
        difference: top-1 of A minus top-1 of B, a fraction; ``ci95`` its bootstrap interval.
    """

    n: int = field(metadata=SOME)
    agreement: float = field(metadata=FRACTION)
    only_a: int = field(metadata=COUNT)
    only_b: int = field(metadata=COUNT)
    mcnemar_p: float = field(metadata=FRACTION)
    difference: float = field(metadata=DIFFERENCE)
    ci95: tuple[float, float]

    def plain(self) -> dict[str, Any]:
        """JSON-able values."""
        return {**asdict(self), "ci95": list(self.ci95)}


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Class probabilities (N, K): ``exp(z - max z) / sum exp(z - max z)`` per row, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponents = np.exp(shifted)
    out: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
    return out


def top1(logits: Floats, labels: Ints) -> float:
    """Fraction of images whose largest logit is their label's: ``mean(argmax z = y)``."""
    _check(logits, labels)
    return float((logits.argmax(axis=1) == labels).mean())


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a fraction: stays inside [0, 1] and holds its level near 0 and 1.

    ``(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`` with ``p = successes / n``
    (Wilson, JASA 22, 1927; recommended by Brown, Cai & DasGupta, Stat. Sci. 16, 2001).

    Raises:
        ValueError: n < 1, or successes outside 0..n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"a fraction needs 0 <= successes <= n and n >= 1, got {successes} of {n}")
    p, z2 = successes / n, z * z
    center = p + z2 / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    scale = 1 + z2 / n
    low = 0.0 if successes == 0 else (center - spread) / scale
    high = 1.0 if successes == n else (center + spread) / scale
    return low, high


def confusion(predicted: Ints, labels: Ints, classes: int) -> NDArray[np.int64]:
    """Counts (K, K): row = true class, column = predicted class."""
    flat = np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def per_class_accuracy(matrix: NDArray[np.int64]) -> list[float | None]:
    """Recall of every class, ``C[k, k] / Σ_j C[k, j]``; None for a class without test images."""
    return [int(row[k]) / int(row.sum()) if row.sum() else None for k, row in enumerate(matrix)]


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """Mean over classes of ``2 TP / (2 TP + FP + FN)``; classes neither present nor predicted are
    left out.
    """
    true_positives = matrix.diagonal().astype(np.float64)
    occurrences = (matrix.sum(axis=0) + matrix.sum(axis=1)).astype(np.float64)  # 2 TP + FP + FN
    seen = occurrences > 0
    return float((2 * true_positives[seen] / occurrences[seen]).mean())


def negative_log_likelihood(logits: Floats, labels: Ints) -> float:
    """Mean of ``-log softmax(z)_y`` in nats; finite even where a probability underflows."""
    _check(logits, labels)
    z = logits.astype(np.float64)
    top = z.max(axis=1)
    log_sum = top + np.log(np.exp(z - top[:, None]).sum(axis=1))
    return float((log_sum - z[np.arange(len(labels)), labels]).mean())


def reliability(logits: Floats, labels: Ints, bins: int = ECE_BINS) -> list[ReliabilityBin]:
    """Confidence against accuracy in ``bins`` bins of equal width, right-closed: bin m holds
    ((m-1)/M, m/M].
    """
    _check(logits, labels)
    confidence, right = softmax(logits).max(axis=1), logits.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    table = []
    for m in range(bins):
        inside = bin_of == m
        n = int(inside.sum())
        mean_confidence = float(confidence[inside].mean()) if n else None
        table.append(
            ReliabilityBin(
                m / bins,
                (m + 1) / bins,
                n,
                mean_confidence,
                float(right[inside].mean()) if n else None,
            )
        )
    return table


def ece(table: list[ReliabilityBin]) -> float:
    """Expected calibration error ``Σ_m n_m/N |accuracy_m - confidence_m|`` (Guo et al. 2017,
    equation 3).
    """
    total = sum(row.count for row in table)
    filled = [(row.count, row.accuracy, row.confidence) for row in table]
    return (
        sum(
            n * abs(accuracy - sure)
            for n, accuracy, sure in filled
            if accuracy is not None and sure is not None
        )
        / total
    )


def evaluate(logits: Floats, labels: Ints) -> dict[str, Any]:
    """Everything the report says about one form, JSON-able.

    Returns:
        n, correct, top1, ci95 [low, high] (Wilson), macro_f1, ece, nll, per_class (K values or
        None), confusion (K rows of K counts, row = true class) and reliability (a list of bins).

    Raises:
        ValueError: shapes that do not fit, no images, labels outside 0..K-1, or logits that are not
            finite.
    """
    _check(logits, labels)
    predicted, n = logits.argmax(axis=1), len(labels)
    matrix = confusion(predicted, labels, logits.shape[1])
    correct, table = int(matrix.trace()), reliability(logits, labels)
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


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Exact two-sided McNemar p-value from the discordant counts.

    ``min(1, 2 Σ_{i ≤ min(a, b)} C(a+b, i) / 2^(a+b))``: under "neither is better" a discordant
    image is a fair coin (McNemar, Psychometrika 12, 1947; exact form as in Fagerland et al., BMC
    Med. Res. Methodol. 13:91, 2013).
    """
    n, term, total = only_a + only_b, 1, 0
    for i in range(min(only_a, only_b) + 1):
        total += term
        term = term * (n - i) // (i + 1)  # C(n, i + 1), exact in integers
    return min(1.0, 2 * total / 2**n)


def bootstrap_difference(
    only_a: int, only_b: int, n: int, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of top-1(A) - top-1(B) over images.

    Resampling N images with replacement draws the counts (only A right, only B right, the rest)
    from Multinomial(N; a/N, b/N, 1 - (a+b)/N), so the counts are drawn directly: the same
    distribution, without N·R indices.
    """
    shares = [only_a / n, only_b / n, (n - only_a - only_b) / n]
    counts = numpy_rng(seed, "bootstrap", "difference").multinomial(n, shares, size=resamples)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / n, [0.025, 0.975])
    return float(low), float(high)


def paired(a: Floats, b: Floats, labels: Ints, *, seed: int = 0) -> Paired:
    """Compares two forms on the same images.

    Args:
        a, b: logits (N, K) of the two forms. labels: (N,).

    Raises:
        ValueError: as in ``evaluate``, or two forms with different shapes.
    """
    _check(a, labels)
    _check(b, labels)
    if a.shape != b.shape:
        raise ValueError(f"paired forms need the same shape (N, K), got {a.shape} and {b.shape}")
    class_a, class_b = a.argmax(axis=1), b.argmax(axis=1)
    right_a, right_b, n = class_a == labels, class_b == labels, len(labels)
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return Paired(
        n=n,
        agreement=float((class_a == class_b).mean()),
        only_a=only_a,
        only_b=only_b,
        mcnemar_p=mcnemar_exact(only_a, only_b),
        difference=(only_a - only_b) / n,
        ci95=bootstrap_difference(only_a, only_b, n, seed=seed),
    )


def within_class_diversity(features: Floats, labels: Ints) -> float | None:
    """How different the images of a class look to the teacher: mean over classes of the mean
    pairwise ``1 - cos``.

    For n unit rows f the mean over the pairs i < j is ``1 - (|Σ f|² - n) / (n (n - 1))``: exact,
    without the pairs (the diversity statistic of methods.md C.5; 0 = all the same, about 1 =
    unrelated).

    Args:
        features: (N, D), of any length other than zero. labels: (N,).

    Returns:
        None where no class has two images.
    """
    found = []
    for k in np.unique(labels):
        members = _unit(features[labels == k])
        n, total = len(members), members.sum(axis=0)
        if n > 1:
            found.append(1.0 - (float(total @ total) - n) / (n * (n - 1)))
    return float(np.mean(found)) if found else None


def domain_gap(
    synthetic: Floats, synthetic_labels: Ints, real: Floats, real_labels: Ints
) -> float | None:
    """How far generated images lie from real ones: mean over classes of ``1 - cos`` between their
    class means.

    Args:
        synthetic, real: features (N, D); the means are over unit rows. Classes that have only one
            kind are left out.

    Returns:
        None where no class has both.
    """
    means = [
        (_mean_direction(synthetic[synthetic_labels == k]), _mean_direction(real[real_labels == k]))
        for k in np.intersect1d(synthetic_labels, real_labels)
    ]
    return float(np.mean([1.0 - float(x @ y) for x, y in means])) if means else None


def _mean_direction(features: Floats) -> NDArray[np.float64]:
    return _unit(_unit(features).mean(axis=0))


def _unit(rows: Floats) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    out: NDArray[np.float64] = wide / np.linalg.norm(wide, axis=-1, keepdims=True)
    return out


def _check(logits: Floats, labels: Ints) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits must be (N, K) and labels (N,), got {logits.shape} and {labels.shape}"
        )
    if not len(labels):
        raise ValueError("there are no images to evaluate")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"labels must be 0..{logits.shape[1] - 1}, got {labels.min()}..{labels.max()}"
        )
    if not np.isfinite(logits).all():
        bad = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise ValueError(f"logits must be finite, image {bad} has {logits[bad]}")
