"""Oracles of the terms: which targets and which student features each one reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from distill_targets import FEATURES, POOLED, STUDENT, TEXTS, batch, inputs, out

from compress.distill.batches import Batch
from compress.distill.losses import kl_distill
from compress.distill.students import Outputs
from compress.distill.terms import ConditionTerm, FeatureTerm, TrustedLabelTerm, ZeroShotTerm


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
    assert torch.equal(feature.projector.weight.grad, condition.projector.weight.grad)


def test_condition_prediction_reads_conditions_not_the_teachers_features() -> None:
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


def test_the_labels_of_real_rows_weigh_the_same_on_however_many_ranks() -> None:
    whole, term = batch(), TrustedLabelTerm(inputs())

    def gradient(part: Batch, logits: torch.Tensor) -> torch.Tensor:
        leaf = logits.clone().requires_grad_()
        loss = term(Outputs(POOLED, leaf), part)
        assert loss is not None
        loss.backward()
        assert leaf.grad is not None
        return leaf.grad

    shared = torch.zeros_like(STUDENT)
    for rank in range(2):  # of the three real rows one has two, the other one
        mine = torch.arange(len(STUDENT)) % 2 == rank
        weight = 2 * int(whole.real[mine].sum()) / int(whole.real.sum())
        part = replace(whole.part(mine), real_weight=weight)
        shared[mine] = gradient(part, STUDENT[mine]) / 2
    torch.testing.assert_close(shared, gradient(whole, STUDENT))
    none_here = replace(whole.part(~whole.real), real_weight=0.0)
    assert not gradient(none_here, STUDENT[~whole.real]).any(), "the same graph as on other ranks"
