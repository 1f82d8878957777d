"""Oracles of the losses: directions, scales and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from distill_targets import DIM, STUDENT, TEACHER

from compress.distill.losses import (
    FEATURE_LOSSES,
    LOGITS,
    cosine_loss,
    dist_loss,
    kl_distill,
    mse_norm_loss,
    standardized,
)


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


def test_standardized_logits_are_the_z_scores_over_the_classes() -> None:
    seen = standardized(TEACHER)
    by_hand = [
        [(float(z) - row.mean()) / row.std() for z in row] for row in TEACHER.double().numpy()
    ]
    np.testing.assert_allclose(seen.numpy(), by_hand, atol=1e-5)
    assert torch.equal(LOGITS["raw"](TEACHER), TEACHER)


def test_kl_of_standardized_logits_is_blind_to_shift_and_scale() -> None:
    shift, scale = torch.randn(6, 1), torch.rand(6, 1) + 0.5
    moved = scale * TEACHER + shift
    assert float(kl_distill(standardized(moved), standardized(TEACHER), 2.0)) < 1e-6
    assert float(kl_distill(moved, TEACHER, 2.0)) > 1e-2
    still = torch.full((2, 5), 3.0, requires_grad=True)  # no class above another
    kl_distill(standardized(still), standardized(TEACHER[:2]), 1.0).backward()
    assert still.grad is not None and still.grad.isfinite().all()


def test_dist_is_one_less_pearsons_correlations_of_rows_and_of_columns() -> None:
    p, q = (F.softmax(z.double() / 2, -1).numpy() for z in (STUDENT, TEACHER))
    inter = np.mean([1 - np.corrcoef(p[i], q[i])[0, 1] for i in range(len(p))])
    intra = np.mean([1 - np.corrcoef(p[:, k], q[:, k])[0, 1] for k in range(p.shape[1])])
    found = float(dist_loss(STUDENT, TEACHER, 2.0))
    assert found == pytest.approx(4 * (inter + intra), rel=1e-4)
    assert float(dist_loss(TEACHER, TEACHER, 2.0)) == pytest.approx(0, abs=1e-5)
    assert float(dist_loss(STUDENT + torch.randn(6, 1), TEACHER, 2.0)) == pytest.approx(found)


def test_a_class_that_no_image_shows_more_than_another_leaves_dist_finite() -> None:
    z = torch.zeros(4, 5, requires_grad=True)
    loss = dist_loss(z, TEACHER[:4], 1.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2) and z.grad is not None
    assert z.grad.isfinite().all()
