"""Differences between rows of a table, paired over seeds and test images.

A cell maps a row to its hits ``(N,)`` bool: the test images it gets right. A difference is taken
seed by seed; its interval is Student's t over seeds (another draw of shots), its p-value McNemar's
exact test on the images of all seeds pooled (another draw of test images).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.evaluate.comparison import mcnemar_exact

Cell = Mapping[str, NDArray[np.bool_]]  # row -> hits


@dataclass(frozen=True)
class PairedGain:
    """How much better one row is than another, in points of top-1."""

    gain: float  # mean over seeds
    half_width: float  # of the 95 % interval over seeds; infinite for one seed: it shows nothing
    per_seed: tuple[float, ...]
    p: float  # pooled exact McNemar

    @property
    def within(self) -> str:
        """The interval as text."""
        return f"± {self.half_width:.2f}" if math.isfinite(self.half_width) else "(one seed)"

    @property
    def verdict(self) -> str:
        """The claim ``gain > 0``: it holds only if the interval over seeds excludes zero."""
        if self.gain <= 0:
            return "**FAILS**"
        return "holds" if self.gain > self.half_width else "not shown"


def paired_gain(cells: Sequence[Cell], better: str, worse: str) -> PairedGain:
    """The difference better - worse over cells, one per seed."""
    gains = np.asarray([100 * (cell[better].mean() - cell[worse].mean()) for cell in cells])
    count = len(gains)
    half_width = t95(count) * gains.std(ddof=1) / math.sqrt(count) if count > 1 else math.inf
    a, b = (np.concatenate([cell[row] for cell in cells]) for row in (better, worse))
    p = mcnemar_exact(int((a & ~b).sum()), int((b & ~a).sum()))
    return PairedGain(float(gains.mean()), float(half_width), tuple(gains.round(1).tolist()), p)


def t95(n: int) -> float:
    """The 97.5 % quantile of Student's t with n - 1 degrees of freedom."""
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1))


def mean_and_deviation(values: Sequence[float]) -> str:
    """``"87.0 ± 2.6"``, or a single value alone."""
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


def claim_line(verdict: str, claim: str, figures: str) -> str:
    """One line of a list of claims."""
    return f"- {verdict}: {claim} ({figures})"
