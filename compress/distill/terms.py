"""Terms of objectives: each maps the student's outputs and a batch of cached targets to a scalar.

A term may have parameters (a projector, a denoiser); they train beside the student and do not ship.
"System A" to "E" are the papers of ``compress/papers``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from compress.distill.batches import Batch
from compress.distill.losses import FEATURE_LOSSES, LOGITS, cosine_loss, dist_loss, kl_distill
from compress.distill.pools import FeatureRows, TargetName
from compress.distill.students import Outputs
from compress.engine import ranks
from compress.engine.config import DistillSettings


@dataclass(frozen=True)
class ObjectiveInputs:
    """What terms are built from: settings, sizes, and statistics of the teacher.

    The mean teacher features of classes are those of real images, or of synthetic ones without
    shots.
    """

    settings: DistillSettings
    width: int  # F of the student's pooled features
    zero_shot: Tensor | None  # (K, D) unit rows, the teacher's head of texts; None: it has none
    probe: Tensor  # (K, D) unit rows, its head trained on the shots
    logit_scale: float  # of the teacher's cosines
    class_means: Tensor  # (K, D) unit rows
    rows: tuple[FeatureRows, ...]  # the cached features of every pool in use
    condition_dim: int = 0  # E of the generator's conditions, 0 without any
    has: frozenset[TargetName] = frozenset(("logits", "features"))  # in the cached batches
    classifier: nn.Linear | None = None  # the student's, for a second one beside it
    classifier_scale: Tensor | None = None  # the logarithm of its scale, if it is a cosine head


class Term(nn.Module, ABC):
    """One summand of a loss."""

    needs: ClassVar[frozenset[TargetName]] = frozenset()  # targets that every batch must hold

    def __init__(self, inputs: ObjectiveInputs) -> None:
        super().__init__()
        self.settings = inputs.settings

    @abstractmethod
    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        """A scalar, or None if no image of the batch counts."""


class LabelTerm(Term):
    """Cross-entropy on every label; a synthetic image's is the class it was generated for."""

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        return F.cross_entropy(out.logits, batch.labels)


class TrustedLabelTerm(Term):
    """Cross-entropy on real images, and on synthetic ones if ``distill.synthetic_ce``."""

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        return trusted_cross_entropy(out.logits, batch, self.settings)


def trusted_cross_entropy(logits: Tensor, batch: Batch, settings: DistillSettings) -> Tensor | None:
    """Cross-entropy on the labels of real images, or of all with ``distill.synthetic_ce``."""
    rows = batch.real | settings.synthetic_ce
    if not bool(rows.any()):
        # with rows on other ranks, all have this term and the gradients of its inputs
        return None if batch.real_weight else logits.sum() * 0
    loss = F.cross_entropy(logits[rows], batch.labels[rows])
    return loss if settings.synthetic_ce else loss * batch.real_weight


class ProbeTerm(Term):
    """``T² KL`` to the teacher's probe (its zero-shot head without shots).

    With ``distill.logits=standardized`` of logits at mean 0 and variance 1, see ``losses.py``.
    """

    needs = frozenset({"logits"})

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        assert batch.teacher_logits is not None  # Objective has checked ``needs``
        seen = LOGITS[self.settings.logits]
        return kl_distill(seen(out.logits), seen(batch.teacher_logits), self.settings.temperature)


class CorrelationTerm(Term):
    """DIST: correlations of probabilities with the teacher's, over classes and over images."""

    needs = frozenset({"logits"})

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        assert batch.teacher_logits is not None
        ours, theirs = out.logits, batch.teacher_logits
        if batch.shared:
            ours, theirs = ranks.trained_whole(ours), ranks.whole(theirs)
        return dist_loss(ours, theirs, self.settings.temperature)


class ZeroShotTerm(Term):
    """``T² KL`` to zero-shot logits ``scale · cos(E_img(x), E_txt(class))`` (system A, LD)."""

    needs = frozenset({"features"})
    head: Tensor

    def __init__(self, inputs: ObjectiveInputs) -> None:
        super().__init__(inputs)
        assert inputs.zero_shot is not None  # `require_texts` has refused this before any work
        self.register_buffer("head", inputs.logit_scale * inputs.zero_shot, persistent=False)

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        assert batch.teacher_features is not None
        zero_shot = batch.teacher_features @ self.head.T
        return kl_distill(out.logits, zero_shot, self.settings.temperature)


class FeatureTerm(Term):
    """Distance of the student's feature from the teacher's image embedding (system A, FD).

    Uses the student's own projection into the teacher's space; a student without one gets a linear
    projector without bias.
    """

    needs = frozenset({"features"})

    def __init__(self, inputs: ObjectiveInputs) -> None:
        super().__init__(inputs)
        self.distance = FEATURE_LOSSES[inputs.settings.feature_loss]
        self.projector = nn.Linear(inputs.width, inputs.probe.shape[1], bias=False)

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        assert batch.teacher_features is not None
        predicted = self.projector(out.pooled) if out.features is None else out.features
        return self.distance(predicted, batch.teacher_features)


class ConditionTerm(Term):
    """``1 − cos`` of the projected feature and the image's generation condition (system A, CP).

    A real image's condition is its own embedding, so the teacher only sees real images.
    """

    needs = frozenset({"conditions"})

    def __init__(self, inputs: ObjectiveInputs) -> None:
        super().__init__(inputs)
        self.projector = nn.Linear(inputs.width, inputs.condition_dim, bias=False)

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        assert batch.conditions is not None
        return cosine_loss(self.projector(out.pooled), batch.conditions)


class PooledTerm(Term):
    """A term on pooled features alone: ``inner(pooled (B, F), batch) -> scalar``."""

    needs = frozenset({"features"})

    def __init__(
        self, inputs: ObjectiveInputs, inner: Callable[[int, ObjectiveInputs], nn.Module]
    ) -> None:
        super().__init__(inputs)
        self.inner = inner(inputs.width, inputs)

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        loss: Tensor = self.inner(out.pooled, batch)
        return loss
