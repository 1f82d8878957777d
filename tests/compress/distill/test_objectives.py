"""Oracles of the objectives: limits of their weights, parts, missing targets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from distill_targets import FEATURES, LABELS, POOLED, STUDENT, TEACHER, TEXTS, batch, inputs, out

from compress.distill.losses import kl_distill
from compress.distill.objectives import OBJECTIVES, TERMS, Objective
from compress.engine.errors import ConfigError, DataError


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


def test_missing_teacher_targets_are_an_error_before_training() -> None:
    bare = replace(inputs(objective="fd"), has=frozenset())
    with pytest.raises(DataError, match="no features"):
        Objective(bare)
    with pytest.raises(DataError, match="no conditions"):
        Objective(replace(inputs(objective="cp"), has=frozenset(("logits", "features"))))
    Objective(replace(inputs(objective="ce"), has=frozenset()))


def test_unknown_names_are_errors_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'kd'"):
        Objective(inputs(objective="kdd"))


def test_logit_distillation_weighs_the_zero_shot_term() -> None:
    zero_shot = kl_distill(STUDENT, 20.0 * FEATURES @ TEXTS.T, 2.0)
    expected = float(F.cross_entropy(STUDENT, LABELS) + 0.5 * zero_shot)
    assert value(objective="ld", logit_weight=0.5) == pytest.approx(expected, rel=1e-5)
