"""The training loop of the petals networks, its batches and its augmentations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.petals_training.phase import Phase
from compress.engine.errors import TrainingError
from compress.engine.seeds import numpy_rng


class Pictures(Protocol):
    """Captioned training pictures: flowers, or the photos of another world."""

    @property
    def images(self) -> np.ndarray:
        """uint8 (N, 32, 32, 3)."""

    def captions(self, rng: np.random.Generator, rows: Sequence[int] | np.ndarray) -> list[str]:
        """A random caption of each picture in ``rows``."""


def batches(count: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """``steps`` batches of row numbers from shuffled epochs without their incomplete last batch."""
    order = rng.permutation(count)
    start = 0
    for _ in range(steps):
        if start + batch > count:
            order = rng.permutation(count)
            start = 0
        yield order[start : start + batch]
        start += batch


def turned(images: Tensor) -> Tensor:
    """Each image (B, C, S, S) in one of its eight symmetries at random: flowers have no up."""
    coins = torch.rand(3, len(images), 1, 1, 1, device=images.device) < 0.5
    images = torch.where(coins[0], images.flip(3), images)
    images = torch.where(coins[1], images.flip(2), images)
    return torch.where(coins[2], images.transpose(2, 3), images)


def mirrored(images: Tensor) -> Tensor:
    """Each image (B, C, S, S) mirrored left to right at random."""
    coins = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(coins, images.flip(3), images)


def shifted(images: Tensor, reach: int = 3) -> Tensor:
    """The batch moved by up to ``reach`` pixels, one random move for all, borders replicated."""
    size = images.shape[-1]
    top, left = torch.randint(0, 2 * reach + 1, (2,)).tolist()
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    return padded[:, :, top : top + size, left : left + size]


def optimize(
    phase: Phase,
    parameters: list[nn.Parameter],
    loss_of: Callable[[np.ndarray], tuple[Tensor, dict[str, float]]],
    *,
    rows: int,
    batch: int,
    samples: int,
    lr: float,
    weight_decay: float,
    schedule: Callable[[float], float] = lambda part: 0.5 + 0.5 * math.cos(math.pi * part),
    after: Callable[[int], None] = lambda step: None,
    betas: tuple[float, float] = (0.9, 0.98),
) -> None:
    """AdamW with a warm-up of 100 steps and gradient norm 1; no decay of vectors.

    Args:
        loss_of: rows -> loss and metrics to log.
        rows: number of training rows.
        schedule: share of the steps -> factor of the learning rate.
        after: runs after each update, with the step.

    Raises:
        TrainingError: the loss is not finite.
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr, betas=betas)
    steps = max(samples // batch, 1)
    rng = numpy_rng(phase.seed, "embedded", phase.name, "batches")
    for step, batch_rows in enumerate(batches(rows, batch, steps, rng)):
        rate = lr * min(1.0, (step + 1) / 100) * schedule(step / steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, metrics = loss_of(batch_rows)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        after(step)
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss of phase {phase.name} is not finite", got=value, remedy="lower its lr"
            )
        phase.step(step, steps, batch, {"loss": value, **metrics})
