"""Oracles of the objectives: limits of their weights, parts, missing targets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from distill_targets import FEATURES, LABELS, POOLED, STUDENT, TEACHER, TEXTS, batch, inputs, out
from tiny_models import perturbed

from compress.distill.losses import dist_loss, kl_distill, standardized
from compress.distill.objectives import (
    OBJECTIVES,
    TERMS,
    Objective,
    require_labels,
    require_trusted_labels,
)
from compress.engine.config import DistillSettings, GenddSettings
from compress.engine.errors import ConfigError, DataError


def own(name: str, **settings: Any) -> dict[str, Any]:
    """Settings that an objective takes: without labels there is no contraction."""
    return {"objective": name, "smooth": 0.9 * OBJECTIVES[name].labeled, **settings}


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
    objective = Objective(inputs(**own(name)))
    loss, values = objective(out(), batch())
    assert math.isfinite(float(loss))
    assert float(loss) == pytest.approx(
        sum(objective.weights[k] * v for k, v in values.items()), rel=1e-5
    )
    assert set(values) <= set(TERMS)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_logits_only_is_true_exactly_where_pooled_features_do_not_matter(name: str) -> None:
    torch.manual_seed(1)
    objective = Objective(inputs(**own(name)))
    pooled = POOLED.clone().requires_grad_()
    loss, _ = objective(out(pooled), batch())
    touched = (
        loss.requires_grad and torch.autograd.grad(loss, pooled, allow_unused=True)[0] is not None
    )
    assert objective.spec.logits_only is not touched


UNLABELED = [name for name, spec in OBJECTIVES.items() if not spec.labeled]


def gradients(name: str, labels: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor]:
    """The loss, and its gradients by the pooled features and by the classifier on them."""
    torch.manual_seed(1)
    objective = Objective(inputs(**own(name)))
    perturbed(objective)  # an untrained denoiser is zero
    torch.manual_seed(2)
    pooled = POOLED.clone().requires_grad_()
    head = torch.nn.Linear(POOLED.shape[1], STUDENT.shape[1])
    seen = pooled.detach() if objective.spec.detach_head else pooled
    outputs = replace(out(pooled), logits=head(seen))
    loss, _ = objective(outputs, batch(labels=labels))
    by_pooled, by_head = torch.autograd.grad(loss, (pooled, head.weight))
    return float(loss), by_pooled, by_head


@pytest.mark.parametrize("name", OBJECTIVES)
def test_labels_change_the_loss_of_labeled_objectives_alone(name: str) -> None:
    given, others = gradients(name, LABELS), gradients(name, (LABELS + 1) % 5)
    same = [torch.equal(torch.as_tensor(given[i]), torch.as_tensor(others[i])) for i in range(3)]
    assert same == [True] * 3 if name in UNLABELED else not same[0]


def test_unlabeled_gendd_is_its_term_on_the_trunk_and_the_teachers_answers_on_the_probe() -> None:
    assert UNLABELED == ["contraction_unlabeled", "gendd_unlabeled"]
    objective = Objective(inputs(**own("gendd_unlabeled", feature_weight=3.0, temperature=1.0)))
    assert objective.weights == {"kl": 1.0, "gendd": 3.0}
    torch.manual_seed(2)
    total, values = objective(out(), batch())
    torch.manual_seed(2)
    generated = objective.terms["gendd"](out(), batch())
    told = (TEACHER.log_softmax(-1) - STUDENT.log_softmax(-1)) * TEACHER.softmax(-1)
    assert values["kl"] == pytest.approx(float(told.sum(-1).mean()), rel=1e-5)
    assert float(total) == pytest.approx(float(told.sum(-1).mean() + 3 * generated), rel=1e-5)
    _, by_pooled, by_head = gradients("gendd_unlabeled", LABELS)
    assert by_pooled.abs().max() > 0 and by_head.abs().max() > 0


@pytest.mark.parametrize("name", UNLABELED)
def test_without_labels_there_is_no_class_to_contract_toward(name: str) -> None:
    with pytest.raises(ConfigError, match=r"smooth=0\.9 .* --set distill\.smooth=0"):
        Objective(inputs(objective=name, smooth=0.9))
    share = DistillSettings(objective=name, smooth=0, gendd=GenddSettings(pretrain_share=0.2))
    if name == "gendd_unlabeled":
        with pytest.raises(ConfigError, match=r"share=0\.2 .* distill\.gendd\.pretrain_share=0"):
            require_labels(share)
    else:
        require_labels(share)  # it has no stage 1


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


def test_kl_compares_the_logits_that_the_setting_names() -> None:
    expected = kl_distill(standardized(STUDENT), standardized(TEACHER), 2.0)
    found = value(alpha=1, logits="standardized")
    assert found == pytest.approx(float(expected), rel=1e-5) != pytest.approx(value(alpha=1))


def test_dist_weighs_its_correlations_beside_cross_entropy_on_real_images() -> None:
    labels = float(F.cross_entropy(STUDENT[:3], LABELS[:3]))
    correlations = float(dist_loss(STUDENT, TEACHER, 2.0))
    assert value(objective="dist") == pytest.approx(labels + 2 * correlations, rel=1e-5)
    assert Objective(inputs(objective="fd_dist", feature_weight=3.0)).weights == {
        "feature": 3.0,
        "dist": 2.0,
        "ce": 1.0,
    }


def test_two_heads_learn_apart_from_teacher_and_labels() -> None:
    objective = Objective(inputs(objective="fd_dho", alpha=0.7, feature_weight=3.0))
    assert objective.weights == {"feature": 3.0, "kl": 0.7, "label_head": pytest.approx(0.3)}
    for labels in (LABELS, (LABELS + 1) % 5):
        own = STUDENT.clone().requires_grad_()
        loss, _ = objective(replace(out(), logits=own), batch(labels=labels))
        (gradient,) = torch.autograd.grad(loss, own)
        kl = STUDENT.clone().requires_grad_()
        (expected,) = torch.autograd.grad(0.7 * kl_distill(kl, TEACHER, 2.0), kl)
        torch.testing.assert_close(gradient, expected)


def test_a_label_head_without_labels_is_refused() -> None:
    settings = DistillSettings(objective="dho")
    require_trusted_labels(settings, real=True)
    require_trusted_labels(DistillSettings(objective="kd"), real=False)
    with pytest.raises(ConfigError, match="has none .* --set distill.objective=kd"):
        require_trusted_labels(settings, real=False)
    both = DistillSettings(objective="dho", synthetic_ce=True)
    require_trusted_labels(both, real=False)
    with pytest.raises(ConfigError, match="chosen on views of real images"):
        require_trusted_labels(both.model_copy(update={"label_share": None}), real=False)
