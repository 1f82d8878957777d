"""Distillation losses: KL of softened logits, and distances of features.

Each sums over classes or widths as its formula says and averages over the batch, so a weight means
the same for any K, D or B.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def kl_distill(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``T² · KL(softmax(z_T / T) ‖ softmax(z_S / T))``, sum over K, mean over B.

    T² keeps the gradient's size nearly independent of T (Hinton, Vinyals and Dean 2015, section 2).
    """
    log_student = F.log_softmax(student / temperature, -1)
    log_teacher = F.log_softmax(teacher / temperature, -1)
    divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def cosine_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """``1 − cos``, mean over B; ``(B, D)`` each, of any norm."""
    return (1 - F.cosine_similarity(predicted, target, dim=-1)).mean()


def mse_norm_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """``|u(a) − u(b)|² = 2 − 2 cos`` of unit rows, sum over D, mean over B."""
    return (F.normalize(predicted, dim=-1) - F.normalize(target, dim=-1)).square().sum(-1).mean()


#: ``distill.feature_loss`` -> distance of ``(B, D)`` from ``(B, D)``
FEATURE_LOSSES = {"cosine": cosine_loss, "mse_norm": mse_norm_loss}
