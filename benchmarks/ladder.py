"""Ladders of methods: hits of every rung by seed and shots, their differences and their table.

``hits[seed, shots][rung]`` is a bool array ``(N,)``: the test images that the rung gets right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.api import run_stages
from compress.bench.artifact import BenchArtifact
from compress.engine.config import HostSettings, Settings
from compress.engine.progress import RichProgress
from compress.papers.statistics import PairedGain, mean_and_deviation, paired_gain

#: label of a column -> its predictions in the stage "bench"
BENCHED = {
    "int8": "student_int8",
    "PTQ": "student_ptq",
    "probe": "teacher",
    "zero-shot": "teacher_zero_shot",
}
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
    lines = ["| shots | seeds | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 2)]
    for shots in sorted({k for _, k in hits}):
        seeds = cells(hits, shots)
        row = [
            mean_and_deviation([100 * float(cell[column].mean()) for cell in seeds])
            for column in columns
        ]
        lines.append(f"| {shots} | {len(seeds)} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def shot(k: int) -> str:
    """``1 shot``, ``4 shots``."""
    return f"{k} shot" if k == 1 else f"{k} shots"


def threshold(holds: bool) -> str:
    """The verdict of a claim that is a threshold on a mean, not a sign."""
    return "holds" if holds else "**FAILS**"
