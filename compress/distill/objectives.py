"""What the student is asked for: a table of objectives.

An objective takes the student's outputs and a batch with the teacher's cached targets, and gives a scalar and the numbers
to log. Losses are summed over classes and averaged over the batch, so their weights do not depend on K or B.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from compress.config import DistillSettings
from compress.distill.batches import Batch
from compress.errors import ConfigError, nearest

Objective = Callable[[Tensor, Batch], tuple[Tensor, dict[str, float]]]


def kl_distill(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``T² · KL(softmax(z_T / T) ‖ softmax(z_S / T))``, summed over K, mean over B. Hinton et al. 2015.

    Args:
        student: logits ``(B, K)``.
        teacher: logits ``(B, K)``.
        temperature: T > 0; T² keeps the gradient's size nearly independent of T.
    """
    divergence = F.kl_div(
        F.log_softmax(student / temperature, -1),
        F.log_softmax(teacher / temperature, -1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * divergence


def kd(settings: DistillSettings) -> Objective:
    """SIDCLIP's loss: ``α · T² KL + (1 − α) · CE`` (OpenReview I5S1a1NKxo, section 3).

    CE is taken over real images, and over synthetic ones if ``synthetic_ce``; KL over all.
    """
    alpha = settings.alpha

    def loss(logits: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        divergence = kl_distill(logits, batch.teacher_logits, settings.temperature)
        total, values = alpha * divergence, {"kl": float(divergence.detach())}
        counted = batch.real | settings.synthetic_ce
        if alpha < 1 and bool(counted.any()):
            entropy = F.cross_entropy(logits[counted], batch.labels[counted])
            total = total + (1 - alpha) * entropy
            values["ce"] = float(entropy.detach())
        return total, values

    return loss


def ce(settings: DistillSettings) -> Objective:
    """Plain fine-tuning: cross-entropy on the labels, the teacher unused."""

    def loss(logits: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        entropy = F.cross_entropy(logits, batch.labels)
        return entropy, {"ce": float(entropy.detach())}

    return loss


OBJECTIVES: dict[str, Callable[[DistillSettings], Objective]] = {"kd": kd, "ce": ce}


def objective_for(settings: DistillSettings) -> Objective:
    """The objective named in the settings.

    Raises:
        ConfigError: unknown name, with the nearest one.
    """
    if settings.objective not in OBJECTIVES:
        raise ConfigError(
            "unknown objective", got=repr(settings.objective), remedy=nearest(settings.objective, OBJECTIVES)
        )
    return OBJECTIVES[settings.objective](settings)
