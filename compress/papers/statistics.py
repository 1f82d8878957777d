"""Paired statistics of a ladder: the same test images, the same seeds, one rung against another.

``hits[seed, shots][rung]`` is a bool array ``(N,)``: which test images the rung gets right. A
difference between two rungs is taken seed by seed; its interval is Student's t over seeds (what
another draw of shots would change), its p value is McNemar's exact test on the images of all seeds
pooled (what another draw of test images would change).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.evaluate.comparison import mcnemar_exact

Hits = Mapping[tuple[int, int], Mapping[str, NDArray[np.bool_]]]


@dataclass(frozen=True)
class Paired:
    """How much better one rung is than another, in points of top-1.

    Attributes:
        gain: mean over seeds.
        half_width: of the 95 % interval over seeds; infinite for one seed, which shows nothing.
        per_seed: the gain of each seed.
        p: pooled exact McNemar.
    """

    gain: float
    half_width: float
    per_seed: tuple[float, ...]
    p: float

    @property
    def within(self) -> str:
        """The interval as text."""
        return f"± {self.half_width:.2f}" if math.isfinite(self.half_width) else "(one seed)"

    @property
    def verdict(self) -> str:
        """What became of the claim ``gain > 0``: it holds only where the interval over seeds
        excludes zero.
        """
        return (
            "**FAILS**"
            if self.gain <= 0
            else "holds"
            if self.gain > self.half_width
            else "not shown"
        )


def cells(hits: Hits, shots: int) -> list[Mapping[str, NDArray[np.bool_]]]:
    """The hits of every seed at one number of shots, in the order of seeds."""
    return [found for (_, k), found in sorted(hits.items(), key=lambda item: item[0]) if k == shots]


def mean(hits: Hits, rung: str, shots: int) -> float:
    """Mean top-1 in %."""
    return float(np.mean([100 * cell[rung].mean() for cell in cells(hits, shots)]))


def paired(hits: Hits, better: str, worse: str, shots: int) -> Paired:
    """The difference better - worse at one number of shots."""
    found = cells(hits, shots)
    gains = np.asarray([100 * (cell[better].mean() - cell[worse].mean()) for cell in found])
    spread = (
        t95(len(gains)) * gains.std(ddof=1) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
    )
    a, b = (np.concatenate([cell[name] for cell in found]) for name in (better, worse))
    p = mcnemar_exact(int((a & ~b).sum()), int((b & ~a).sum()))
    return Paired(float(gains.mean()), float(spread), tuple(gains.round(1).tolist()), p)


def t95(n: int) -> float:
    """The 97.5 % quantile of Student's t with n - 1 degrees of freedom."""
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1))


def table(hits: Hits, columns: Sequence[str]) -> str:
    """Mean top-1 in % with the standard deviation over seeds; rows are numbers of shots."""
    lines = ["| shots | seeds | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 2)]
    for shots in sorted({k for _, k in hits}):
        found = cells(hits, shots)
        row = [
            mean_and_deviation([100 * float(cell[column].mean()) for cell in found])
            for column in columns
        ]
        lines.append(f"| {shots} | {len(found)} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def mean_and_deviation(values: Sequence[float]) -> str:
    """``"87.0 ± 2.6"``, or the value alone where there is one."""
    return (
        f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"
        if len(values) > 1
        else f"{values[0]:.1f}"
    )


def shot(k: int) -> str:
    """``1 shot``, ``4 shots``."""
    return f"{k} shot" if k == 1 else f"{k} shots"


def said(verdict: str, claim: str, figures: str) -> str:
    """One line of a list of claims."""
    return f"- {verdict}: {claim} ({figures})"


def threshold(holds: bool) -> str:
    """The verdict of a claim that is a threshold on a mean, not a sign."""
    return "holds" if holds else "**FAILS**"
