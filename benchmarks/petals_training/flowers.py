"""Phase ``render``: the training flowers, drawn once by all cores and kept as three arrays."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from compress.petals.world import TrainingFlowers, training_flowers

STEP = 2000  # pictures per task
ARRAYS = ("images", "attributes", "styles")


def draw_flowers(count: int, seed: int, folder: Path, workers: int | None = None) -> None:
    """Writes the three arrays; the ``count`` pictures do not depend on ``workers``."""
    starts = range(0, count, STEP)
    stops = [min(start + STEP, count) for start in starts]
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(training_flowers, starts, stops, [seed] * len(stops)))
    for name in ARRAYS:
        whole = np.concatenate([getattr(part, name) for part in parts])
        np.save(folder / f"{name}.npy", whole, allow_pickle=False)


def load_flowers(folder: Path) -> TrainingFlowers:
    """The arrays that :func:`draw_flowers` wrote."""
    return TrainingFlowers(*(np.load(folder / f"{name}.npy") for name in ARRAYS))
