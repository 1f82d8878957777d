"""The head that is fitted to rounded features."""

from __future__ import annotations

import torch
from tiny_models import TinyCNN, images, quantized
from torch import nn

from compress.quantize.head import refit_head, refitted
from compress.quantize.scales import fake_quantizers, set_observers


def test_exact_features_change_nothing() -> None:
    torch.manual_seed(0)
    weight, bias, features = torch.randn(5, 12), torch.randn(5), torch.randn(9, 12)
    new, offset = refitted(weight, bias, features, features)
    assert torch.allclose(new, weight, atol=1e-6) and torch.allclose(offset, bias, atol=1e-5)


def test_the_fit_is_that_of_the_normal_equations() -> None:
    """In the space of features: (QᵀQ + λ I) D = Qᵀ R, where the code solves in that of images."""
    torch.manual_seed(1)
    weight, bias, exact = torch.randn(3, 6), torch.randn(3), torch.randn(40, 6)
    rounded = exact + 0.3 * torch.randn(40, 6) + 0.5
    new, offset = refitted(weight, bias, exact, rounded)
    q, f, w = ((each).double() for each in (rounded, exact, weight))
    centered = q - q.mean(0)
    wanted = f @ w.T
    missing = wanted - wanted.mean(0) - centered @ w.T
    penalty = (centered**2).sum(1).mean()
    step = torch.linalg.solve(
        centered.T @ centered + penalty * torch.eye(6, dtype=torch.float64), centered.T @ missing
    )
    assert torch.allclose(new.double(), w + step.T, atol=1e-5)
    answers = rounded @ new.T + offset
    assert torch.allclose(answers.mean(0), (exact @ weight.T + bias).mean(0), atol=1e-4)
    before = ((rounded @ weight.T + bias - exact @ weight.T - bias) ** 2).mean()
    assert ((answers - exact @ weight.T - bias) ** 2).mean() < before / 2


def plain() -> nn.Module:
    """Enough layers that rounding shows, and a head that holds its weight."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 24), (24, 24), (24, 24), (24, 24)):
        layers += [nn.Conv2d(before, after, 3), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 7)).eval()


def test_new_images_are_answered_more_like_the_float_student() -> None:
    student = plain()
    prepared, fresh = quantized(student), images(96)[48:]

    def error() -> float:
        set_observers(prepared, observe=False, quantize=True)
        with torch.no_grad():
            return float((prepared(fresh) - student(fresh)).pow(2).mean())

    before = error()
    assert refit_head(prepared, images(48))
    assert error() < before
    for module in fake_quantizers(prepared):
        assert not int(module.observer_enabled[0])
        shipped = module.activation_post_process.calculate_qparams()[0]
        assert torch.equal(module.scale, shipped.reshape(module.scale.shape))


def test_a_cosine_head_computes_its_weight_and_is_left_alone(student: TinyCNN) -> None:
    prepared = quantized(student)
    before = {name: value.clone() for name, value in prepared.state_dict().items()}
    assert not refit_head(prepared, images(8))
    assert all(torch.equal(value, prepared.state_dict()[name]) for name, value in before.items())
