"""The training loop of the petals networks, its batches and its augmentations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.petals_training.phase import Phase
from compress.engine.errors import TrainingError
from compress.engine.seeds import numpy_rng


class Pictures(Protocol):
    """Captioned pictures to learn from: the flowers of this world, or photos of another."""

    @property
    def images(self) -> np.ndarray:
        """uint8 (N, 32, 32, 3)."""

    def captions(self, rng: np.random.Generator, rows: Sequence[int] | np.ndarray) -> list[str]:
        """A random caption of each picture named in ``rows``."""


def batches(count: int, batch: int, steps: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """``steps`` batches of row numbers: whole shuffled epochs, the incomplete last batch of an
    epoch left out.
    """
    order, place = rng.permutation(count), 0
    for _ in range(steps):
        if place + batch > count:
            order, place = rng.permutation(count), 0
        yield order[place : place + batch]
        place += batch


def turned(images: Tensor) -> Tensor:
    """Random mirror, flip and transpose of each image (B, C, S, S); the world has no up, so all
    eight are as likely.
    """
    coins = torch.rand(3, len(images), 1, 1, 1, device=images.device) < 0.5
    images = torch.where(coins[0], images.flip(3), images)
    images = torch.where(coins[1], images.flip(2), images)
    return torch.where(coins[2], images.transpose(2, 3), images)


def mirrored(images: Tensor) -> Tensor:
    """Random mirror of each image (B, C, S, S), left to right: what photos of things with an up
    allow.
    """
    return torch.where(
        torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5, images.flip(3), images
    )


def shifted(images: Tensor, reach: int = 3) -> Tensor:
    """The batch moved by up to ``reach`` pixels, one random move for all, borders replicated."""
    size = images.shape[-1]
    top, left = torch.randint(0, 2 * reach + 1, (2,)).tolist()
    return functional.pad(images, (reach,) * 4, mode="replicate")[
        :, :, top : top + size, left : left + size
    ]


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
    """The one training loop of this package: AdamW, warm-up of 100 steps, ``schedule`` over the
    run, gradient norm 1.

    ``loss_of(rows)`` gives the loss and numbers to log; ``after(step)`` runs behind each update.
    Raises TrainingError when the loss is not finite.
    """
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr,
        betas=betas,
    )
    steps = max(samples // batch, 1)
    rng = numpy_rng(phase.seed, "embedded", phase.name, "batches")
    for step, chosen in enumerate(batches(rows, batch, steps, rng)):
        rate = lr * min(1.0, (step + 1) / 100) * schedule(step / steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, numbers = loss_of(chosen)
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
        phase.step(step, steps, batch, {"loss": value, **numbers})
