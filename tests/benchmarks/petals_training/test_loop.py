"""The training loop: its batches, its augmentations, and what stops it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.petals_training.loop import batches, mirrored, optimize, shifted, turned
from benchmarks.petals_training.phase import Phase
from compress.engine.errors import TrainingError


def test_an_epoch_shows_every_row_once() -> None:
    rows = np.concatenate(list(batches(12, 4, 3, np.random.default_rng(0))))
    assert sorted(rows) == list(range(12))


def test_augmentation_moves_pixels_and_makes_none() -> None:
    image = torch.arange(3 * 64).float().view(1, 3, 8, 8)
    torch.manual_seed(0)
    seen = {tuple(turned(image).flatten().tolist()) for _ in range(80)}
    assert len(seen) == 8 and all(sorted(one) == sorted(image.flatten().tolist()) for one in seen)
    sides = {tuple(mirrored(image).flatten().tolist()) for _ in range(20)}
    assert sides == {tuple(image.flatten().tolist()), tuple(image.flip(3).flatten().tolist())}
    assert set(shifted(image).flatten().tolist()) <= set(image.flatten().tolist())


def test_a_loss_that_is_not_finite_stops_the_phase(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    phase = Phase("broken", 0, "cpu", tmp_path / "log.jsonl")
    with pytest.raises(TrainingError, match="broken"):
        optimize(
            phase,
            [weight],
            lambda rows: (weight.sum() * float("nan"), {}),
            rows=8,
            batch=4,
            samples=8,
            lr=1e-3,
            weight_decay=0.0,
        )
