"""The spherical distance: half the squared angle, finite at the poles, unlike the printed one."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from compress.generate.inversion.spherical import spherical


def pair(cosine: float) -> tuple[torch.Tensor, torch.Tensor]:
    a = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    return a, torch.tensor([cosine, math.sqrt(1 - cosine * cosine), 0.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("cosine", "expected"),
    [
        (1, 0),
        (0.9, 0.1017),
        (0.5, 0.5483),
        (0.3, 0.8015),
        (0.25, 0.8687),
        (0.2, 0.9377),
        (0, math.pi**2 / 8),
    ],
)
def test_the_spherical_distance_is_half_the_squared_angle(cosine: float, expected: float) -> None:
    a, b = pair(cosine)
    assert spherical(a, 3 * b).item() == pytest.approx(expected, abs=5e-5)
    assert spherical(a, b).item() == pytest.approx(math.acos(cosine) ** 2 / 2, abs=1e-9)


def test_opposite_vectors_are_at_half_pi_squared_but_for_the_clamp() -> None:
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert spherical(a, -a).item() == pytest.approx(math.pi**2 / 2, abs=0.01)


@pytest.mark.parametrize("cosine", [-0.999, -0.5, 0.0, 0.3, 0.999, 1.0, -1.0])
def test_its_gradient_is_finite(cosine: float) -> None:
    a, b = (part.float() for part in pair(cosine))
    a.requires_grad_()
    spherical(a, b).backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()


def test_the_formula_as_the_poster_prints_it_is_not_a_number_at_the_cosines_of_clip() -> None:
    def literal(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.arcsin(
            (functional.normalize(a, dim=-1) - functional.normalize(b, dim=-1)).norm(dim=-1)
        ).square()

    for cosine in (0.2, 0.3, 0.49):
        assert torch.isnan(literal(*pair(cosine)))
        assert torch.isfinite(spherical(*pair(cosine)))
    assert not torch.isnan(literal(*pair(0.51)))
