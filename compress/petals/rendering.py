"""Phase ``render``: the training flowers, drawn once by all cores and kept as three arrays."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.petals.world import TrainingFlowers, training_flowers

if TYPE_CHECKING:
    import torch

_STEP = 2000  # pictures per task


def draw_flowers(count: int, seed: int, folder: Path, workers: int | None = None) -> None:
    """Writes images.npy, attributes.npy and styles.npy; the ``count`` pictures do not depend on
    ``workers``.
    """
    starts = range(0, count, _STEP)
    stops = [min(start + _STEP, count) for start in starts]
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(training_flowers, starts, stops, [seed] * len(stops)))
    for name in ("images", "attributes", "styles"):
        np.save(
            folder / f"{name}.npy",
            np.concatenate([getattr(part, name) for part in parts]),
            allow_pickle=False,
        )


def load_flowers(folder: Path) -> TrainingFlowers:
    """What :func:`draw_flowers` wrote."""
    images, attributes, styles = (
        np.load(folder / f"{name}.npy") for name in ("images", "attributes", "styles")
    )
    return TrainingFlowers(images, attributes, styles)


def pixels(images: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, S, S) in [-1, 1], the input of every network here (mean
    0.5, std 0.5).
    """
    import torch

    return (
        torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float()
        / 127.5
        - 1
    )
