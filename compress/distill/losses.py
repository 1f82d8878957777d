"""Distillation losses: KL of softened logits, correlations, and distances of features.

Each sums over classes or widths as its formula says and averages over the batch, so a weight means
the same for any K, D or B.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-8  # of a variance or a product of lengths [C: DIST]; what is constant gives zeros


def kl_distill(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``T² · KL(softmax(z_T / T) ‖ softmax(z_S / T))``, sum over K, mean over B.

    T² keeps the gradient's size nearly independent of T (Hinton, Vinyals and Dean 2015, section 2).
    """
    log_student = F.log_softmax(student / temperature, -1)
    log_teacher = F.log_softmax(teacher / temperature, -1)
    divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def standardized(logits: Tensor) -> Tensor:
    """``(z − mean z) / std z`` over the K classes, ``(B, K)``; equal logits become zeros.

    With it a student learns the teacher's relations of logits, not their shift and scale, and one
    temperature suits every image (Sun et al. 2024, arXiv 2403.01427, algorithm 1: the deviation of
    the population; the authors' code takes that of a sample, a temperature √(K / (K − 1)) higher).
    The scale of the student's logits is then left to other terms and to calibration.
    """
    centered = logits - logits.mean(-1, keepdim=True)
    return centered * (centered.square().mean(-1, keepdim=True) + TINY).rsqrt()


#: ``distill.logits`` -> what KL compares, of logits ``(B, K)``
LOGITS: dict[str, Callable[[Tensor], Tensor]] = {"raw": lambda z: z, "standardized": standardized}


def dist_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``T² (inter + intra)``: 1 − Pearson's correlation of probabilities at temperature T.

    Inter: of the K classes of an image, mean over B. Intra: of the B images' probabilities of a
    class, mean over K; so its value depends on which images are in the batch. A correlation leaves
    shift and scale free (DIST, Huang et al. 2022, arXiv 2205.10536; T² as in the authors' code).
    """
    ours = (student / temperature).softmax(-1)
    theirs = (teacher / temperature).softmax(-1)
    inter = 1 - correlation(ours, theirs).mean()
    intra = 1 - correlation(ours.T, theirs.T).mean()
    return temperature**2 * (inter + intra)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's, of each row of ``(N, M)`` with that of the other, ``(N,)``; 0 of a constant."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    lengths = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    return (a * b).sum(-1) / (lengths + TINY)


def cosine_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """``1 − cos``, mean over B; ``(B, D)`` each, of any norm."""
    return (1 - F.cosine_similarity(predicted, target, dim=-1)).mean()


def mse_norm_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """``|u(a) − u(b)|² = 2 − 2 cos`` of unit rows, sum over D, mean over B."""
    return (F.normalize(predicted, dim=-1) - F.normalize(target, dim=-1)).square().sum(-1).mean()


#: ``distill.feature_loss`` -> distance of ``(B, D)`` from ``(B, D)``
FEATURE_LOSSES = {"cosine": cosine_loss, "mse_norm": mse_norm_loss}
