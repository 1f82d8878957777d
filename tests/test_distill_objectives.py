"""Oracles of the specification: limits, directions and scales of the losses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from compress.config import DistillSettings
from compress.distill.batches import Batch
from compress.distill.objectives import OBJECTIVES, kl_distill, objective_for
from compress.errors import ConfigError

torch.manual_seed(0)
STUDENT, TEACHER = torch.randn(6, 5), torch.randn(6, 5) * 3
LABELS = torch.arange(6) % 5
REAL = torch.tensor([True, True, True, False, False, False])


def batch() -> Batch:
    return Batch(torch.zeros(6, 3, 4, 4), TEACHER, torch.zeros(6, 2), LABELS, REAL)


def value(**settings: object) -> float:
    return float(objective_for(DistillSettings(**settings))(STUDENT, batch())[0])  # type: ignore[arg-type]


def test_alpha_zero_is_plain_cross_entropy() -> None:
    assert value(alpha=0, synthetic_ce=True) == pytest.approx(float(F.cross_entropy(STUDENT, LABELS)))
    assert value(alpha=0) == pytest.approx(float(F.cross_entropy(STUDENT[:3], LABELS[:3])))
    assert value(objective="ce") == pytest.approx(float(F.cross_entropy(STUDENT, LABELS)))


def test_alpha_one_with_equal_logits_is_zero() -> None:
    assert float(kl_distill(TEACHER, TEACHER, 2.0)) == pytest.approx(0, abs=1e-6)
    assert value(alpha=1) == pytest.approx(float(kl_distill(STUDENT, TEACHER, 2.0)))


def test_kl_is_teacher_to_student_summed_over_classes() -> None:
    p, q = F.softmax(TEACHER / 2, -1), F.softmax(STUDENT / 2, -1)
    expected = 4 * (p * (p / q).log()).sum(-1).mean()
    assert float(kl_distill(STUDENT, TEACHER, 2.0)) == pytest.approx(float(expected), rel=1e-5)
    assert float(kl_distill(STUDENT, TEACHER, 1.0)) != pytest.approx(float(kl_distill(TEACHER, STUDENT, 1.0)))


def test_gradient_for_a_large_temperature_is_the_centred_difference() -> None:
    z = STUDENT.clone().double().requires_grad_()
    kl_distill(z, TEACHER.double(), 1e4).backward()
    centred = lambda t: t - t.mean(-1, keepdim=True)  # noqa: E731
    expected = (centred(STUDENT.double()) - centred(TEACHER.double())) / 5 / 6  # / K / B
    assert z.grad is not None and torch.allclose(z.grad, expected, atol=1e-4)


def test_the_gradient_hardly_depends_on_a_large_temperature() -> None:
    def norm(temperature: float) -> float:
        z = STUDENT.clone().requires_grad_()
        kl_distill(z, TEACHER, temperature).backward()
        assert z.grad is not None
        return float(z.grad.norm())

    assert norm(50) == pytest.approx(norm(100), rel=0.05)


def test_no_class_means_no_ladder_and_unknown_names_are_errors() -> None:
    assert set(OBJECTIVES) == {"kd", "ce"}
    with pytest.raises(ConfigError, match="did you mean 'kd'"):
        objective_for(DistillSettings(objective="kdd"))
