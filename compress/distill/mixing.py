"""Mixup of a step's images: pixels of real and synthetic ones, and the targets of both.

    x = m x_i + (1 − m) x_j,   L = m L(f(x), targets of i) + (1 − m) L(f(x), targets of j)

with one ``m ~ Beta(a, a)`` per step, ``a = distill.mixup`` (Zhang et al. 2018, arXiv 1710.09412, as
its authors' code computes it). A loss that is linear in its target, as cross-entropy and cosine
are, then is that of the mixed target; KL differs from it by what no weight changes. So every term
takes part as it is, and a label counts with the share of its image.

The partner of a real image is a synthetic one where a batch has both: what a student sees lies
between the domains, and no line between them is of use [I]. Both orders come from shuffled passes,
so partners are random although their places in the batch are fixed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from compress.distill.batches import Batch
from compress.distill.students import Outputs
from compress.engine.seeds import numpy_rng

Loss = Callable[[Outputs, Batch], tuple[Tensor, dict[str, float]]]


def share_at(alpha: float, seed: int, step: int) -> float | None:
    """m of a step; None: nothing is mixed."""
    return float(numpy_rng(seed, "mixup", step).beta(alpha, alpha)) if alpha else None


def partners(real: Tensor) -> Tensor:
    """The row that each row of a batch is mixed with, ``(B,)``; the real rows come first."""
    rows, count = len(real), int(real.sum())
    shift = count if 0 < count < rows else rows // 2
    return (torch.arange(rows, device=real.device) + shift) % rows


def mixed_loss(
    model: Callable[[Tensor], Outputs], loss: Loss, batch: Batch, share: float
) -> tuple[Tensor, dict[str, float]]:
    """Loss and numbers of a batch whose images are mixed with their partners'."""
    other = batch.part(partners(batch.real))
    out = model(torch.lerp(other.images, batch.images, share))
    mine, numbers = loss(out, batch)
    theirs, others = loss(out, other)
    names = dict.fromkeys([*numbers, *others])
    means = {n: share * numbers.get(n, 0.0) + (1 - share) * others.get(n, 0.0) for n in names}
    return torch.lerp(theirs, mine, share), means
