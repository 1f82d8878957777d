"""Two models on the same images.

The comparison is paired: images on which both agree say nothing about which is better, so an
unpaired interval would be needlessly wide.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from compress.evaluate.metrics import COUNT, DIFFERENCE, FRACTION, SOME, Floats, Ints, check

BISECTIONS = 60  # past the last bit of a difference
Z95 = 1.959963984540054  # of the standard normal, two-sided 5 %


@dataclass(frozen=True)
class PairedComparison:
    """Model A against model B on the same images.

    Attributes:
        n: images.
        agreement: fraction with the same predicted class (right or wrong).
        only_a: images that only A classifies correctly; ``only_b`` likewise.
        mcnemar_p: exact two-sided p-value of "neither is better".
        difference: top-1 of A minus top-1 of B, a fraction; ``ci95`` its score interval.
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


def score_interval(only_a: int, only_b: int, n: int, z: float = Z95) -> tuple[float, float]:
    """95 % score interval of top-1(A) - top-1(B), a fraction, from the discordant counts.

    Tango, Statistics in Medicine 17:891, 1998: the differences D at which the score statistic
    ``(a - b - n D) / sqrt(n (2 q + D (1 - D)))`` is at most z, with q the probability of "only B
    is right" that is likeliest under D. Unlike a bootstrap it does not collapse where two models
    agree on all images: of n images it then is ``+- z^2 / (n + z^2)``.
    """

    def statistic(difference: float) -> float:
        linear = -only_a - only_b + (2 * n - only_a + only_b) * difference
        last = -only_b * difference * (1 - difference)
        q = (math.sqrt(max(linear**2 - 8 * n * last, 0.0)) - linear) / (4 * n)
        variance = n * (2 * q + difference * (1 - difference))
        if variance <= 0:  # at -1 or 1, or where nothing differs
            return (
                0.0 if only_a - only_b == n * difference else math.copysign(math.inf, -difference)
            )
        return (only_a - only_b - n * difference) / math.sqrt(variance)

    def limit(inner: float, outer: float, sign: int) -> float:
        for _ in range(BISECTIONS):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if sign * statistic(middle) <= z else (inner, middle)
        return inner

    found = (only_a - only_b) / n
    return limit(found, -1.0, 1), limit(found, 1.0, -1)


def paired(a: Floats, b: Floats, labels: Ints) -> PairedComparison:
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
    ci95 = score_interval(only_a, only_b, n)
    return PairedComparison(n, agreement, only_a, only_b, p, (only_a - only_b) / n, ci95)
