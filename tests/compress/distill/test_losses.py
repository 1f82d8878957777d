"""Oracles of the losses: directions, scales and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from distill_targets import DIM, STUDENT, TEACHER

from compress.distill.losses import FEATURE_LOSSES, cosine_loss, kl_distill, mse_norm_loss


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
