"""Oracles of losses and objectives: limits, directions and scales."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from compress.distill.batches import Batch
from compress.distill.losses import FEATURE_LOSSES, cosine_loss, kl_distill, mse_norm_loss
from compress.distill.objectives import OBJECTIVES, TERMS, Objective
from compress.distill.students import Outputs
from compress.distill.terms import ConditionTerm, FeatureTerm, ObjectiveInputs, ZeroShotTerm
from compress.engine.config import DistillSettings
from compress.engine.errors import ConfigError, DataError

torch.manual_seed(0)
WIDTH, DIM, CLASSES = 7, 16, 5
STUDENT, TEACHER = torch.randn(6, CLASSES), torch.randn(6, CLASSES) * 3
POOLED, FEATURES = torch.randn(6, WIDTH), F.normalize(torch.randn(6, DIM), dim=-1)
LABELS = torch.arange(6) % CLASSES
REAL = torch.tensor([True, True, True, False, False, False])
TEXTS = F.normalize(torch.randn(CLASSES, DIM), dim=-1)


def batch(**changes: Any) -> Batch:
    return replace(
        Batch(torch.zeros(6, 3, 4, 4), TEACHER, FEATURES, LABELS, REAL, conditions=FEATURES),
        **changes,
    )


def out(pooled: Tensor = POOLED, features: Tensor | None = None) -> Outputs:
    return Outputs(pooled, STUDENT, features)


def inputs(**settings: Any) -> ObjectiveInputs:
    gendd = {"token_dim": 8, "width": 16, "depth": 1, "repeats": 2}
    has = frozenset(("logits", "features", "conditions"))
    return ObjectiveInputs(
        DistillSettings(**{"gendd": gendd, **settings}),
        WIDTH,
        TEXTS,
        TEXTS,
        20.0,
        TEXTS,
        torch.zeros(DIM),
        torch.ones(DIM),
        condition_dim=DIM,
        has=has,  # type: ignore[arg-type]
    )


def value(**settings: Any) -> float:
    return float(Objective(inputs(**settings))(out(), batch())[0])


def test_alpha_zero_is_plain_cross_entropy() -> None:
    assert value(alpha=0, synthetic_ce=True) == pytest.approx(
        float(F.cross_entropy(STUDENT, LABELS))
    )
    assert value(alpha=0) == pytest.approx(float(F.cross_entropy(STUDENT[:3], LABELS[:3])))
    assert value(objective="ce") == pytest.approx(float(F.cross_entropy(STUDENT, LABELS)))


def test_alpha_one_with_equal_logits_is_zero() -> None:
    assert float(kl_distill(TEACHER, TEACHER, 2.0)) == pytest.approx(0, abs=1e-6)
    assert value(alpha=1) == pytest.approx(float(kl_distill(STUDENT, TEACHER, 2.0)))


def test_kl_is_teacher_to_student_summed_over_classes() -> None:
    p, q = F.softmax(TEACHER / 2, -1), F.softmax(STUDENT / 2, -1)
    expected = 4 * (p * (p / q).log()).sum(-1).mean()
    assert float(kl_distill(STUDENT, TEACHER, 2.0)) == pytest.approx(float(expected), rel=1e-5)
    assert float(kl_distill(STUDENT, TEACHER, 1.0)) != pytest.approx(
        float(kl_distill(TEACHER, STUDENT, 1.0))
    )


def test_gradient_for_a_large_temperature_is_the_centered_difference() -> None:
    z = STUDENT.clone().double().requires_grad_()
    kl_distill(z, TEACHER.double(), 1e4).backward()
    centered = lambda t: t - t.mean(-1, keepdim=True)  # noqa: E731
    expected = (centered(STUDENT.double()) - centered(TEACHER.double())) / 5 / 6  # / K / B
    assert z.grad is not None and torch.allclose(z.grad, expected, atol=1e-4)


def test_the_gradient_hardly_depends_on_a_large_temperature() -> None:
    def norm(temperature: float) -> float:
        z = STUDENT.clone().requires_grad_()
        kl_distill(z, TEACHER, temperature).backward()
        assert z.grad is not None
        return float(z.grad.norm())

    assert norm(50) == pytest.approx(norm(100), rel=0.05)


def test_cosine_and_normalized_squared_distance_are_one_loss() -> None:
    a, b = torch.randn(9, DIM) * 3, torch.randn(9, DIM)
    assert float(mse_norm_loss(a, b)) == pytest.approx(2 * float(cosine_loss(a, b)), rel=1e-5)
    assert set(FEATURE_LOSSES) == {"cosine", "mse_norm"}


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_the_feature_loss_is_zero_for_parallel_vectors_and_blind_to_the_norm(name: str) -> None:
    loss = FEATURE_LOSSES[name]
    a, b = torch.randn(4, DIM).requires_grad_(), torch.randn(4, DIM)
    assert float(loss(7.5 * b, b)) == pytest.approx(0, abs=1e-6)
    (grad,) = torch.autograd.grad(loss(a, b), a)
    assert float((grad * a).sum(-1).abs().max()) < 1e-6  # nothing along the vector itself
    assert float(grad.norm()) > 1e-3


def test_condition_prediction_is_feature_distillation_when_the_generator_is_the_identity() -> None:
    torch.manual_seed(3)
    feature = FeatureTerm(inputs())
    condition = ConditionTerm(inputs())
    condition.load_state_dict(feature.state_dict())
    pooled = [POOLED.clone().requires_grad_() for _ in range(2)]
    losses = [term(out(p), batch()) for term, p in zip((feature, condition), pooled, strict=True)]
    assert torch.equal(losses[0], losses[1])
    for loss in losses:
        loss.backward()
    assert torch.equal(pooled[0].grad, pooled[1].grad)  # type: ignore[arg-type]
    assert torch.equal(feature.projector.weight.grad, condition.projector.weight.grad)  # type: ignore[arg-type]


def test_condition_prediction_looks_at_conditions_not_at_the_teachers_features() -> None:
    term = ConditionTerm(inputs())
    assert term(out(), batch(teacher_features=None)) is not None
    other = term(out(), batch(conditions=FEATURES.roll(1, 0)))
    assert float(other) != pytest.approx(float(term(out(), batch())))


def test_a_student_with_a_projection_into_the_teachers_space_uses_it() -> None:
    term = FeatureTerm(inputs())
    assert float(term(out(features=FEATURES), batch())) == pytest.approx(0, abs=1e-6)
    assert float(term(out(), batch())) > 0.1


def test_logit_distillation_targets_are_the_scaled_cosines_with_the_class_texts() -> None:
    expected = kl_distill(STUDENT, 20.0 * FEATURES @ TEXTS.T, 2.0)
    assert float(ZeroShotTerm(inputs())(out(), batch())) == pytest.approx(float(expected), rel=1e-5)
    whole = value(objective="ld", logit_weight=0.5)
    assert whole == pytest.approx(
        float(F.cross_entropy(STUDENT, LABELS) + 0.5 * expected), rel=1e-5
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_gives_a_finite_loss_and_its_parts_add_up(name: str) -> None:
    torch.manual_seed(1)
    objective = Objective(inputs(objective=name))
    loss, values = objective(out(), batch())
    assert math.isfinite(float(loss))
    assert float(loss) == pytest.approx(
        sum(objective.weights[k] * v for k, v in values.items()), rel=1e-5
    )
    assert set(values) <= set(TERMS)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_logits_only_is_true_exactly_where_pooled_features_do_not_matter(name: str) -> None:
    torch.manual_seed(1)
    objective = Objective(inputs(objective=name))
    pooled = POOLED.clone().requires_grad_()
    loss, _ = objective(out(pooled), batch())
    touched = (
        loss.requires_grad and torch.autograd.grad(loss, pooled, allow_unused=True)[0] is not None
    )
    assert objective.spec.logits_only is not touched


def test_a_term_of_weight_zero_is_left_out() -> None:
    assert set(Objective(inputs(objective="fd", feature_weight=0)).terms) == {"labels"}


def test_before_feature_steps_are_over_only_the_feature_term_counts() -> None:
    objective = Objective(inputs(objective="ce", feature_steps=10))
    assert set(objective(out(), batch(), 9)[1]) == {"feature"}
    assert set(objective(out(), batch(), 10)[1]) == {"labels"}
    assert set(objective(out(), batch())[1]) == {"labels"}


def test_targets_that_nobody_asked_the_teacher_for_are_an_error_before_training() -> None:
    bare = replace(inputs(objective="fd"), has=frozenset())
    with pytest.raises(DataError, match="no features"):
        Objective(bare)
    with pytest.raises(DataError, match="no conditions"):
        Objective(replace(inputs(objective="cp"), has=frozenset(("logits", "features"))))
    Objective(replace(inputs(objective="ce"), has=frozenset()))


def test_unknown_names_are_errors_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'kd'"):
        Objective(inputs(objective="kdd"))
