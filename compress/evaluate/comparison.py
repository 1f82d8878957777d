"""Two models on the same images.

The comparison is paired: images on which both agree say nothing about which is better, so an
unpaired interval would be needlessly wide.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from compress.engine.seeds import numpy_rng
from compress.evaluate.metrics import COUNT, DIFFERENCE, FRACTION, SOME, Floats, Ints, check

RESAMPLES = 10_000


@dataclass(frozen=True)
class PairedComparison:
    """Model A against model B on the same images.

    Attributes:
        n: images.
        agreement: fraction with the same predicted class (right or wrong).
        only_a: images that only A classifies correctly; ``only_b`` likewise.
        mcnemar_p: exact two-sided p-value of "neither is better".
        difference: top-1 of A minus top-1 of B, a fraction; ``ci95`` its bootstrap interval.
    """

    n: int | None = field(metadata=SOME)
    agreement: float = field(metadata=FRACTION)
    only_a: int | None = field(metadata=COUNT)
    only_b: int | None = field(metadata=COUNT)
    mcnemar_p: float = field(metadata=FRACTION)
    difference: float = field(metadata=DIFFERENCE)
    ci95: tuple[float, float]

    def plain(self) -> dict[str, Any]:
        """JSON-able values."""
        return {**asdict(self), "ci95": list(self.ci95)}


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Exact two-sided McNemar p-value from the discordant counts.

    Under "neither is better" a discordant image is a fair coin (McNemar, Psychometrika 12, 1947;
    exact form as in Fagerland et al., BMC Med. Res. Methodol. 13:91, 2013).
    """
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def bootstrap_difference(
    only_a: int, only_b: int, n: int, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of top-1(A) - top-1(B) over images.

    Resampling N images draws the counts (only A right, only B right, the rest) from
    Multinomial(N; a/N, b/N, 1 - (a+b)/N), so the counts are drawn directly.
    """
    shares = [only_a / n, only_b / n, (n - only_a - only_b) / n]
    counts = numpy_rng(seed, "bootstrap", "difference").multinomial(n, shares, size=resamples)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / n, [0.025, 0.975])
    return float(low), float(high)


def paired(a: Floats, b: Floats, labels: Ints, *, seed: int = 0) -> PairedComparison:
    """Compares the logits (N, K) of two models on the images with ``labels`` (N,).

    Raises ValueError as ``check`` does, or for logits of different shapes.
    """
    check(a, labels)
    check(b, labels)
    if a.shape != b.shape:
        raise ValueError(f"paired logits need the same shape (N, K), got {a.shape} and {b.shape}")
    n = len(labels)
    class_a = a.argmax(axis=1)
    class_b = b.argmax(axis=1)
    agreement = float((class_a == class_b).mean())
    only_a = int(((class_a == labels) & (class_b != labels)).sum())
    only_b = int(((class_b == labels) & (class_a != labels)).sum())
    p = mcnemar_exact(only_a, only_b)
    ci95 = bootstrap_difference(only_a, only_b, n, seed=seed)
    return PairedComparison(n, agreement, only_a, only_b, p, (only_a - only_b) / n, ci95)
