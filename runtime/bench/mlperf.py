"""Rules of MLPerf inference that ``bench --mode mlperf`` keeps, and those that it does not.

The result is no MLPerf result: LoadGen does not issue the queries and nobody audits. Rules: MLPerf
inference policies, "Scenarios" (SingleStream, Offline) and "Early stopping"; arXiv 1911.02549.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

MIN_SECONDS = 600.0  # of each series
MIN_SAMPLES = 662  # early stopping can say something about p99 from here on
OFFLINE_SAMPLES = 24_576  # images of the Offline query
CONFIDENCE = 0.99

FOLLOWS = (
    "SingleStream: one image per query, the next query when the last one is done",
    f"at least {MIN_SECONDS:.0f} s of each model's own time (a shorter run says so in "
    f"states), and {MIN_SAMPLES} samples",
    "p90 and p99 as early-stopping estimates at confidence 0.99; no sample is removed",
    f"Offline: throughput of batches; below {MIN_SECONDS:.0f} s or {OFFLINE_SAMPLES:,} images "
    "states says so",
)
DOES_NOT_FOLLOW = (
    "LoadGen: queries are issued by this process, competitors interleaved in a fixed order, "
    "A B A B",
    "data set: one input is repeated (the compute of a convolutional network does not depend "
    "on its pixels)",
    "accuracy is not measured in the same run; the report of the build has it",
    "no audit, no compliance tests, no MLPerf Power methodology",
)


def estimate_ms(ns: np.ndarray, percent: float) -> float | None:
    """Early-stopping estimate of a percentile in ms, as LoadGen's SingleStream reports it.

    With n samples the t slowest may be set aside for which a true percentile above the estimate
    would be seen with probability 1 - ``CONFIDENCE`` at most; the estimate is the fastest of those
    t. It never lies below the percentile of the samples. None if there are too few samples (below
    64 for p90, 662 for p99).
    """
    aside = set_aside(int(ns.size), percent / 100)
    return float(np.sort(ns, axis=None)[ns.size - aside]) / 1e6 if aside else None


@lru_cache(maxsize=64)
def set_aside(n: int, share: float) -> int:
    """Largest t with P(X <= t) <= 1 - ``CONFIDENCE``, X binomial of n trials at 1 - share; 0 where
    even t = 1 fails.
    """
    log_choose, below = 0.0, 0.0
    for t in range(n + 1):
        if t:
            log_choose += math.log(n - t + 1) - math.log(t)
        below += math.exp(log_choose + t * math.log(1 - share) + (n - t) * math.log(share))
        if below > 1 - CONFIDENCE:
            return max(t - 1, 0)
    return n


def shortfalls(name: str, n: int, seconds: float, batch: int) -> list[str]:
    """Rules above that a series did not meet, in words."""
    out = []
    if seconds < MIN_SECONDS:
        out.append(f"{name}: {seconds:.0f} s of its own time, MLPerf asks for {MIN_SECONDS:.0f}")
    if batch == 1 and n < MIN_SAMPLES:
        out.append(f"{name}: {n} samples, early stopping at p99 asks for {MIN_SAMPLES}")
    if batch > 1 and n * batch < OFFLINE_SAMPLES:
        out.append(f"{name}: {n * batch} images offline, MLPerf asks for {OFFLINE_SAMPLES}")
    return out
