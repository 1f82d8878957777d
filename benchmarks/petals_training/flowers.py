"""Phase ``render``: the training flowers, drawn once by all cores and kept as three arrays.

Also whole splits of species, for the evaluation.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.petals_training.captions import training_caption
from compress.petals.world import SPECIES, SPLITS, TrainingFlowers, render_species, training_flowers

STEP = 2000  # pictures per task
ARRAYS = ("images", "attributes", "styles")


class CaptionedFlowers(TrainingFlowers):
    """Training flowers with captions."""

    def captions(self, rng: np.random.Generator, rows: Sequence[int] | np.ndarray) -> list[str]:
        """A fresh random caption of each picture in ``rows``."""
        return [
            training_caption(self.attributes[i].tolist(), int(self.styles[i]), rng) for i in rows
        ]


def draw_flowers(count: int, seed: int, folder: Path, workers: int | None = None) -> None:
    """Writes the three arrays; the ``count`` pictures do not depend on ``workers``."""
    starts = range(0, count, STEP)
    stops = [min(start + STEP, count) for start in starts]
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(training_flowers, starts, stops, [seed] * len(stops)))
    for name in ARRAYS:
        whole = np.concatenate([getattr(part, name) for part in parts])
        np.save(folder / f"{name}.npy", whole, allow_pickle=False)


def load_flowers(folder: Path) -> CaptionedFlowers:
    """The arrays that :func:`draw_flowers` wrote."""
    return CaptionedFlowers(*(np.load(folder / f"{name}.npy") for name in ARRAYS))


def render_split(split: str, style: str = "photo", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A whole split, species by species: pictures uint8 (N, 32, 32, 3) and species int64 (N,)."""
    labels = np.repeat(np.arange(len(SPECIES)), SPLITS[split])
    indices = np.tile(np.arange(SPLITS[split]), len(SPECIES))
    return render_species(labels.tolist(), split, indices.tolist(), style, seed), labels
