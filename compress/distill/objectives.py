"""Objectives: two tables, of terms and of the weighted sums made of them.

    objective    system      loss                                            classifier learns from
    ce           A "SUP", B  CE(z_S, y)                                      labels
    kd           B, C, E     α T² KL(z_T ‖ z_S) + (1 − α) CE                 teacher's probe
    fd           A "FD"      CE + λ (1 − cos(P h, E_img(x)))                 labels
    ld           A "LD"      CE + λ T² KL(zero-shot logits ‖ z_S)            labels and class texts
    cp           A "CP"      CE + λ (1 − cos(P h, c)), c the condition       labels
    fd_kd        ours        λ (1 − cos) + α T² KL + (1 − α) CE              teacher's probe
    dist         DIST        CE + β T² (1 − correlations), see ``losses.py`` teacher's probe
    dho          DHO         α T² KL + (1 − α) CE of a second head           both, ``two_heads.py``
    fd_dho       ours        λ (1 − cos) + α T² KL + (1 − α) CE of a second  both
    fd_dist      ours        λ (1 − cos) + CE + β T² (1 − correlations)      teacher's probe
    contraction  from D      CE + λ |P h − x'|² / D, see ``gendd.py``        labels
    gendd        D           denoising loss of x' given h; CE on detached h  labels

Where no label takes part, in the loss or in a target, the classifier learns from the teacher alone
and changes no feature (it is a linear probe); ``kd`` with alpha = 1 is the control without gendd:

    contraction_unlabeled    T² KL on detached h + λ |P h − f_T|² / D        teacher's probe
    gendd_unlabeled  D       T² KL on detached h + λ denoising loss of f_T   teacher's probe

To add an objective: a term if it needs a new one, and a row (worked example in CONTRIBUTING.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from compress.distill import terms
from compress.distill.batches import Batch
from compress.distill.gendd import ContractionTerm, GenddTerm
from compress.distill.pools import TargetName
from compress.distill.schedule import has_feature_steps
from compress.distill.students import Outputs
from compress.distill.terms import ObjectiveInputs, Term
from compress.distill.two_heads import LabelHeadTerm
from compress.engine.config import DistillSettings
from compress.engine.errors import ConfigError, DataError, lookup
from compress.engine.plugins import Table

TERMS: Table[Callable[[ObjectiveInputs], Term]] = Table(
    "terms",
    {
        "labels": terms.LabelTerm,
        "ce": terms.TrustedLabelTerm,
        "kl": terms.ProbeTerm,
        "dist": terms.CorrelationTerm,
        "label_head": LabelHeadTerm,
        "zero_shot_kl": terms.ZeroShotTerm,
        "feature": terms.FeatureTerm,
        "condition": terms.ConditionTerm,
        "contraction": partial(terms.PooledTerm, inner=ContractionTerm),
        "gendd": partial(terms.PooledTerm, inner=GenddTerm),
    },
)


@dataclass(frozen=True)
class ObjectiveSpec:
    """One row of ``OBJECTIVES``.

    Quantization-aware training uses the same loss if all terms are on logits; otherwise the float
    student is the teacher of its int8 twin. So no stage gets targets that the other one lacks.
    """

    weights: Callable[[DistillSettings], Mapping[str, float]]  # by term; 0 leaves it out
    detach_head: bool = False  # the classifier may not change its features (a linear probe)
    logits_only: bool = False  # all terms are on logits
    labeled: bool = True  # False: no label takes part, so targets cannot be contracted


OBJECTIVES: Table[ObjectiveSpec] = Table(
    "objectives",
    {
        "ce": ObjectiveSpec(lambda s: {"labels": 1.0}, logits_only=True),
        "kd": ObjectiveSpec(lambda s: {"kl": s.alpha, "ce": 1 - s.alpha}, logits_only=True),
        "fd": ObjectiveSpec(lambda s: {"labels": 1.0, "feature": s.feature_weight}),
        "ld": ObjectiveSpec(
            lambda s: {"labels": 1.0, "zero_shot_kl": s.logit_weight}, logits_only=True
        ),
        "cp": ObjectiveSpec(lambda s: {"labels": 1.0, "condition": s.condition_weight}),
        "fd_kd": ObjectiveSpec(
            lambda s: {"feature": s.feature_weight, "kl": s.alpha, "ce": 1 - s.alpha}
        ),
        "dist": ObjectiveSpec(lambda s: {"dist": s.dist_weight, "ce": 1.0}, logits_only=True),
        "fd_dist": ObjectiveSpec(
            lambda s: {"feature": s.feature_weight, "dist": s.dist_weight, "ce": 1.0}
        ),
        "dho": ObjectiveSpec(lambda s: {"kl": s.alpha, "label_head": 1 - s.alpha}),
        "fd_dho": ObjectiveSpec(
            lambda s: {"feature": s.feature_weight, "kl": s.alpha, "label_head": 1 - s.alpha}
        ),
        "contraction": ObjectiveSpec(lambda s: {"labels": 1.0, "contraction": s.feature_weight}),
        "gendd": ObjectiveSpec(
            lambda s: {"labels": 1.0, "gendd": s.feature_weight}, detach_head=True
        ),
        "contraction_unlabeled": ObjectiveSpec(
            lambda s: {"kl": 1.0, "contraction": s.feature_weight}, detach_head=True, labeled=False
        ),
        "gendd_unlabeled": ObjectiveSpec(
            lambda s: {"kl": 1.0, "gendd": s.feature_weight}, detach_head=True, labeled=False
        ),
    },
)


def objective_spec(settings: DistillSettings) -> ObjectiveSpec:
    """The row of ``distill.objective``; ConfigError if unknown, with the nearest name."""
    return lookup(OBJECTIVES, settings.objective, "unknown objective")


def terms_of(settings: DistillSettings) -> list[str]:
    """The names of the terms that an objective computes."""
    weights = objective_spec(settings).weights(settings)
    names = [name for name, weight in weights.items() if weight > 0]
    return list(dict.fromkeys([*names, *(["feature"] if has_feature_steps(settings) else [])]))


def require_targets(settings: DistillSettings, has: frozenset[TargetName]) -> None:
    """Raises DataError if the images in use lack targets that a term needs."""
    for name in terms_of(settings):
        term: Any = TERMS[name]
        kind = cast(type[Term], term.func if isinstance(term, partial) else term)
        missing = sorted(kind.needs - has)
        if missing:
            raise DataError(
                f"objective {settings.objective} (term {name}) lacks targets",
                got=f"no {' and no '.join(missing)}",
                expected="teacher targets of every pool (--set 'label.pools=[real, synthetic]')"
                ", or generated conditions (--set generate.strategy=img2img)",
            )


def require_labels(settings: DistillSettings) -> None:
    """Raises ConfigError for an objective without labels and a setting that needs them."""
    if objective_spec(settings).labeled:
        return
    share = settings.gendd.pretrain_share if "gendd" in terms_of(settings) else 0.0
    for name, value in {"smooth": settings.smooth, "gendd.pretrain_share": share}.items():
        if value:
            raise ConfigError(
                f"objective {settings.objective} has no labels, which distill.{name} needs",
                got=f"distill.{name}={value:g}",
                expected="0, as in GenDD's unsupervised setting",
                remedy=f"--set distill.{name}=0",
            )


def require_trusted_labels(settings: DistillSettings, real: bool) -> None:
    """Raises ConfigError for a second head that no image would teach: shipped, it would harm.

    Args:
        real: whether batches hold real images.
    """
    if "label_head" not in terms_of(settings):
        return
    got = f"distill.objective={settings.objective} without real images in a batch"
    if not real and not settings.synthetic_ce:
        what = "the head that learns from labels has none"
        remedy = "--set distill.objective=kd, or --set distill.synthetic_ce=true"
        raise ConfigError(what, got=got, remedy=remedy)
    if not real and settings.label_share is None:
        what = "the share of the head that learns from labels is chosen on views of real images"
        raise ConfigError(what, got=got, remedy="--set distill.label_share=0.5")


def pretraining_steps(settings: DistillSettings, steps: int) -> int:
    """Updates of GenDD's stage 1 before ``steps`` others; 0 without its denoiser."""
    share = settings.gendd.pretrain_share if "gendd" in terms_of(settings) else 0.0
    if share and settings.train == "head":
        raise ConfigError(
            "stage 1 of gendd trains the trunk, which stays frozen",
            got=f"distill.gendd.pretrain_share={share:g}, distill.train=head",
            remedy="--set distill.gendd.pretrain_share=0, or --set distill.train=all",
        )
    return round(share * steps)


class Objective(nn.Module):
    """A weighted sum of terms; DataError if the cached batches lack what a term needs."""

    def __init__(self, inputs: ObjectiveInputs) -> None:
        super().__init__()
        settings = inputs.settings
        self.spec = objective_spec(settings)
        weights = self.spec.weights(settings)
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}
        require_targets(settings, inputs.has)
        require_labels(settings)
        self.terms = nn.ModuleDict({name: TERMS[name](inputs) for name in terms_of(settings)})
        self.feature_steps = settings.feature_steps

    def forward(
        self, out: Outputs, batch: Batch, step: int | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Loss and numbers to log; before step ``feature_steps`` the feature term alone."""
        feature_phase = step is not None and step < self.feature_steps
        total = torch.zeros((), device=out.logits.device)
        values = {}
        for name, weight in ({"feature": 1.0} if feature_phase else self.weights).items():
            loss = self.terms[name](out, batch)
            if loss is not None:
                total = total + weight * loss
                values[name] = float(loss.detach())
        return total, values
