"""Ladders of methods: hits of every rung by seed and shots, their differences and their table.

``hits[seed, shots][rung]`` is a bool array ``(N,)``: the test images that the rung gets right.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import page
from compress.api import run_stages
from compress.bench.artifact import BenchArtifact
from compress.engine.config import HostSettings, Settings
from compress.engine.progress import RichProgress
from compress.papers.statistics import PairedGain, claim_line, mean_and_deviation, paired_gain

#: label of a column -> its predictions in the stage "bench"
BENCHED = {
    "int8": "student_int8",
    "PTQ": "student_ptq",
    "probe": "teacher",
    "zero-shot": "teacher_zero_shot",
}
#: stands for all images of the training split where a number of shots does
ALL = sys.maxsize
Cell = dict[str, NDArray[np.bool_]]
Hits = Mapping[tuple[int, int], Mapping[str, NDArray[np.bool_]]]


def measure_bench(
    settings: Settings,
    work: Path,
    name: str,
    columns: Mapping[str, str],
    host: HostSettings | None = None,
) -> Cell:
    """Builds up to the stage "bench"; hits ``(N,)`` by label of a column."""
    run = run_stages(settings, work, name, until="bench", host=host, progress=RichProgress())
    predictions = BenchArtifact(run.stages["bench"].path).predictions()
    return {
        label: np.asarray(predictions.logits[key].argmax(1) == predictions.labels)
        for label, key in columns.items()
    }


def cells(hits: Hits, shots: int) -> list[Mapping[str, NDArray[np.bool_]]]:
    """The hits of every seed at one number of shots, in the order of seeds."""
    return [cell for (_, k), cell in sorted(hits.items(), key=lambda item: item[0]) if k == shots]


def mean(hits: Hits, rung: str, shots: int) -> float:
    """Mean top-1 in %."""
    return float(np.mean([100 * cell[rung].mean() for cell in cells(hits, shots)]))


def paired(hits: Hits, better: str, worse: str, shots: int) -> PairedGain:
    """The difference better - worse at one number of shots."""
    return paired_gain(cells(hits, shots), better, worse)


def table(hits: Hits, columns: Sequence[str]) -> str:
    """Mean top-1 in % with the standard deviation over seeds; rows are numbers of shots."""
    rows = []
    for shots in sorted({k for _, k in hits}):
        seeds = cells(hits, shots)
        top1 = {name: [100 * float(cell[name].mean()) for cell in seeds] for name in columns}
        name = "all" if shots == ALL else shots
        rows.append((name, len(seeds), *map(mean_and_deviation, top1.values())))
    return page.table(" | ".join(("shots", "seeds", *columns)), rows)


def image_count(hits: Hits) -> int:
    """Test images behind the hits."""
    cell = next(iter(hits.values()))
    return len(next(iter(cell.values())))


def shot(k: int) -> str:
    """``1 shot``, ``4 shots``, ``all shots``."""
    if k == ALL:
        return "all shots"
    return f"{k} shot" if k == 1 else f"{k} shots"


def sign_claim(hits: Hits, better: str, worse: str, shots: int) -> str:
    """``better > worse`` with its verdict."""
    gain = paired(hits, better, worse, shots)
    figures = f"{gain.gain:+.1f} {gain.within} points, p = {gain.p:.1e}"
    return claim_line(gain.verdict, f"{better} > {worse} at {shot(shots)}", figures)


def int8_claim(hits: Hits, fp32: str, shots: int) -> str:
    """The int8 file loses less than half a point against the column ``fp32``."""
    gain = paired(hits, "int8", fp32, shots)
    claim = f"int8 within 0.5 points of fp32 at {shot(shots)}"
    return claim_line(threshold(gain.gain > -0.5), claim, f"{gain.gain:+.2f} {gain.within}")


def shrink_claim(hits: Hits, with_: str, without: str, low: int, high: int, note: str = "") -> str:
    """The gain of synthetic images S is smaller at more shots."""
    gains = [mean(hits, with_, k) - mean(hits, without, k) for k in (low, high)]
    claim = f"the gain of S shrinks from {low} to {high} shots"
    figures = f"{gains[0]:+.1f} -> {gains[1]:+.1f}{note}"
    return claim_line(threshold(gains[0] > gains[1]), claim, figures)


def threshold(holds: bool) -> str:
    """The verdict of a claim that is a threshold on a mean, not a sign."""
    return "holds" if holds else "**FAILS**"
