"""What the student is asked for: two tables, of terms and of objectives made of them.

    objective     system          loss
                  classifier learns from
    ce            A "SUP", B      CE(z_S, y)                                                  the
                  labels
    kd            B, C, E         α T² KL(z_T ‖ z_S) + (1 − α) CE                             the
                  teacher's probe
    fd            A "FD"          CE + λ (1 − cos(P h, E_img(x)))                             the
                  labels
    ld            A "LD"          CE + λ T² KL(zero-shot logits ‖ z_S)                        labels
                  and class texts
    cp            A "CP"          CE + λ (1 − cos(P h, c)), c = what the image was made from  the
                  labels
    fd_kd         ours            λ (1 − cos) + α T² KL + (1 − α) CE                          the
                  teacher's probe
    contraction   ours, from D    CE + λ |P h − x'|², x' = (1 − s) f_T + s c_y                the
                  labels
    gendd         D               denoising loss of x' given h; CE on detached h              the
                  labels

A term takes the student's outputs and a batch with the teacher's cached targets and gives a scalar.
Losses are summed over classes or widths as their formulas say and averaged over the batch, so that
weights do not depend on K or B. Terms may have parameters of their own (a projector, a denoiser):
they are trained beside the student and do not ship.

To add an objective: a term if a new one is needed, and a row in ``OBJECTIVES`` (worked example in
    CONTRIBUTING.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.distill.batches import Batch
from compress.engine.config import DistillSettings
from compress.engine.errors import ConfigError, DataError, nearest
from compress.engine.stage import resolve

Need = Literal["logits", "features", "conditions"]


@dataclass(frozen=True)
class Lesson:
    """What an objective may know before training.

    Attributes:
        settings: the distillation settings.
        classes: K.
        width: F of the student's pooled features.
        zero_shot, probe: ``(K, D)`` unit rows of the teacher's heads.
        logit_scale: of the teacher's cosines.
        class_means: ``(K, D)`` unit rows, mean teacher feature of each class's real images
            (synthetic ones without shots).
        feature_mean, feature_std: ``(D,)`` over the cached teacher features.
        condition_dim: E of the generator's conditions, 0 if there are none.
        has: what the cached batches offer.
    """

    settings: DistillSettings
    classes: int
    width: int
    zero_shot: Tensor
    probe: Tensor
    logit_scale: float
    class_means: Tensor
    feature_mean: Tensor
    feature_std: Tensor
    condition_dim: int = 0
    has: frozenset[Need] = frozenset(("logits", "features"))

    @property
    def embed_dim(self) -> int:
        """The width D of the teacher's space."""
        return int(self.zero_shot.shape[1])


@dataclass
class Outputs:
    """What a student says of a batch.

    Attributes:
        pooled: ``(B, F)`` trunk features.
        logits: ``(B, K)``.
        features: ``(B, D)`` unit rows where the student has a projection into the teacher's space,
            else None.
    """

    pooled: Tensor
    logits: Tensor
    features: Tensor | None = None

    def float(self) -> Outputs:
        """The same in float32."""
        features = None if self.features is None else self.features.float()
        return Outputs(self.pooled.float(), self.logits.float(), features)


def kl_distill(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``T² · KL(softmax(z_T / T) ‖ softmax(z_S / T))``, summed over K, mean over B. Hinton et al.
    2015.

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


def cosine_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """``1 − cos``, mean over B; ``(B, D)`` each, of any norm."""
    return (1 - F.cosine_similarity(predicted, target, dim=-1)).mean()


def mse_norm_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """``|u(a) − u(b)|² = 2 − 2 cos``, summed over D, mean over B."""
    return (F.normalize(predicted, dim=-1) - F.normalize(target, dim=-1)).square().sum(-1).mean()


FEATURE_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine_loss,
    "mse_norm": mse_norm_loss,
}


class Term(nn.Module, ABC):
    """One summand of a loss, built from a `Lesson`."""

    needs: ClassVar[frozenset[Need]] = frozenset()

    def __init__(self, lesson: Lesson) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        """A scalar, or None where no image of the batch counts."""


class LabelTerm(Term):
    """Cross-entropy on every image's label; a synthetic image's label is the class it was made
    for.
    """

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        return F.cross_entropy(out.logits, batch.labels)


class TrustedLabelTerm(Term):
    """Cross-entropy on real images, and on synthetic ones if ``distill.synthetic_ce``."""

    def __init__(self, lesson: Lesson) -> None:
        super().__init__(lesson)
        self.synthetic = lesson.settings.synthetic_ce

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        counted = batch.real | self.synthetic
        return (
            F.cross_entropy(out.logits[counted], batch.labels[counted])
            if bool(counted.any())
            else None
        )


class ProbeTerm(Term):
    """``T² KL`` to the teacher's probe (its zero-shot head where there were no shots)."""

    needs = frozenset({"logits"})

    def __init__(self, lesson: Lesson) -> None:
        super().__init__(lesson)
        self.temperature = lesson.settings.temperature

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        assert batch.teacher_logits is not None  # see Objective
        return kl_distill(out.logits, batch.teacher_logits, self.temperature)


class ZeroShotTerm(Term):
    """``T² KL`` to the teacher's zero-shot logits ``scale · cos(E_img(x), E_txt(class))`` (system
    A, LD).
    """

    needs = frozenset({"features"})

    def __init__(self, lesson: Lesson) -> None:
        super().__init__(lesson)
        self.temperature = lesson.settings.temperature
        self.register_buffer("head", lesson.logit_scale * lesson.zero_shot, persistent=False)

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        assert batch.teacher_features is not None
        head: Any = self.head
        return kl_distill(out.logits, batch.teacher_features @ head.T, self.temperature)


class FeatureTerm(Term):
    """Distance of the projected feature to the teacher's image embedding (system A, FD).

    A student with a projection into the teacher's space of its own uses that; others get a linear
    one without bias.
    """

    needs = frozenset({"features"})

    def __init__(self, lesson: Lesson) -> None:
        super().__init__(lesson)
        self.distance = FEATURE_LOSSES[lesson.settings.feature_loss]
        self.projector = nn.Linear(lesson.width, lesson.embed_dim, bias=False)

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        assert batch.teacher_features is not None
        predicted = self.projector(out.pooled) if out.features is None else out.features
        return self.distance(predicted, batch.teacher_features)


class ConditionTerm(Term):
    """``1 − cos`` between the projected feature and the embedding that the image was generated from
    (system A, CP).

    A real image's condition is its own embedding, so the teacher is asked about real images only.
    """

    needs = frozenset({"conditions"})

    def __init__(self, lesson: Lesson) -> None:
        super().__init__(lesson)
        self.projector = nn.Linear(lesson.width, lesson.condition_dim, bias=False)

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        assert batch.conditions is not None
        return cosine_loss(self.projector(out.pooled), batch.conditions)


class PooledTerm(Term):
    """A term of another file that looks at pooled features only, ``inner(pooled (B, F), batch) ->
    scalar``.
    """

    needs = frozenset({"features"})

    def __init__(self, lesson: Lesson, reference: str) -> None:
        super().__init__(lesson)
        self.inner = resolve(reference)(lesson.width, lesson)

    def forward(self, out: Outputs, batch: Batch) -> Tensor | None:
        loss: Tensor = self.inner(out.pooled, batch)
        return loss


# Names -> terms.
TERMS: dict[str, Callable[[Lesson], nn.Module]] = {
    "labels": LabelTerm,
    "ce": TrustedLabelTerm,
    "kl": ProbeTerm,
    "zero_shot_kl": ZeroShotTerm,
    "feature": FeatureTerm,
    "condition": ConditionTerm,
    "contraction": lambda lesson: PooledTerm(lesson, "compress.distill.gendd:ContractionTerm"),
    "gendd": lambda lesson: PooledTerm(lesson, "compress.distill.gendd:GenddTerm"),
}


@dataclass(frozen=True)
class Recipe:
    """One row of ``OBJECTIVES``.

    Attributes:
        weights: the terms' weights under the settings; a term of weight 0 is left out.
        detach_head: the classifier learns from features that it may not change (a linear probe).
        logits_only: every term is about logits, so quantization-aware training can use the same
            loss. Otherwise the
            float student is the teacher of its int8 twin there: no objective gets targets in one
                stage that it did not
            have in the other.
    """

    weights: Callable[[DistillSettings], Mapping[str, float]]
    detach_head: bool = False
    logits_only: bool = False


OBJECTIVES: dict[str, Recipe] = {
    "ce": Recipe(lambda s: {"labels": 1.0}, logits_only=True),
    "kd": Recipe(lambda s: {"kl": s.alpha, "ce": 1 - s.alpha}, logits_only=True),
    "fd": Recipe(lambda s: {"labels": 1.0, "feature": s.feature_weight}),
    "ld": Recipe(lambda s: {"labels": 1.0, "zero_shot_kl": s.logit_weight}, logits_only=True),
    "cp": Recipe(lambda s: {"labels": 1.0, "condition": s.condition_weight}),
    "fd_kd": Recipe(lambda s: {"feature": s.feature_weight, "kl": s.alpha, "ce": 1 - s.alpha}),
    "contraction": Recipe(lambda s: {"labels": 1.0, "contraction": s.feature_weight}),
    "gendd": Recipe(lambda s: {"labels": 1.0, "gendd": s.feature_weight}, detach_head=True),
}


class Objective(nn.Module):
    """A weighted sum of terms: ``(outputs, batch) -> (loss, numbers to log)``.

    Raises:
        ConfigError: unknown objective, with the nearest one.
        DataError: the cached batches lack what a term needs.
    """

    def __init__(self, lesson: Lesson) -> None:
        super().__init__()
        settings = lesson.settings
        self.recipe = recipe_for(settings)
        self.weights = {
            name: weight for name, weight in self.recipe.weights(settings).items() if weight > 0
        }
        names = [*self.weights, *(["feature"] if settings.feature_steps else [])]
        self.terms = nn.ModuleDict({name: TERMS[name](lesson) for name in dict.fromkeys(names)})
        self.feature_steps = settings.feature_steps
        for name, term in self.terms.items():
            lacking = sorted(getattr(term, "needs", frozenset()) - lesson.has)
            if lacking:
                raise DataError(
                    f"objective {settings.objective} (term {name}) lacks targets",
                    got=f"no {' and no '.join(lacking)}",
                    expected="the teacher asked about every pool (label.pools) and, for "
                    "conditions, a strategy that keeps them",
                    remedy="--set 'label.pools=[real, synthetic]', or --set "
                    "generate.strategy=img2img for conditions",
                )

    def forward(
        self, out: Outputs, batch: Batch, step: int | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch; before ``feature_steps`` (where ``step`` is given) it is the feature
        term alone.
        """
        first = step is not None and step < self.feature_steps
        weights = {"feature": 1.0} if first else self.weights
        total, values = torch.zeros((), device=out.logits.device), {}
        for name, weight in weights.items():
            loss = self.terms[name](out, batch)
            if loss is not None:
                total = total + weight * loss
                values[name] = float(loss.detach())
        return total, values


def recipe_for(settings: DistillSettings) -> Recipe:
    """The row of the objective named in the settings.

    Raises:
        ConfigError: unknown name, with the nearest one.
    """
    if settings.objective not in OBJECTIVES:
        raise ConfigError(
            "unknown objective",
            got=repr(settings.objective),
            remedy=nearest(settings.objective, OBJECTIVES),
        )
    return OBJECTIVES[settings.objective]
