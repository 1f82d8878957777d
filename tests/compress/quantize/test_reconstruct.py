"""Weights that are rounded layer by layer."""

from __future__ import annotations

import pytest
import torch
from tiny_models import TinyCNN, images, quantized
from torch import nn
from torch.nn import functional

from compress.quantize import reconstruct as rounding
from compress.quantize.graph import prepare
from compress.quantize.reconstruct import Layer, layers_of, reconstruct, rounded_columns
from compress.quantize.scales import fake_quantizers, finer, set_observers

CONVOLUTIONS = {
    "plain": nn.Conv2d(4, 6, 3),
    "strided and padded": nn.Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2)),
    "same": nn.Conv2d(4, 6, (3, 2), padding="same", dilation=(2, 1)),
    "depthwise": nn.Conv2d(4, 4, 5, padding=2, groups=4),
    "grouped": nn.Conv2d(4, 6, 3, groups=2),
    "without a bias": nn.Conv2d(4, 6, 1, bias=False),
}


def one_layer(net: nn.Module, example: torch.Tensor) -> Layer:
    (layer,) = layers_of(prepare(nn.Sequential(net, nn.ReLU()).eval(), example))
    return layer


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_columns_are_what_a_convolution_sums(name: str) -> None:
    net = CONVOLUTIONS[name]
    inputs = torch.randn(2, 4, 11, 9)
    layer = one_layer(net, inputs)
    with torch.no_grad():
        wanted = net(inputs)
        places = torch.randperm(wanted[0, 0].numel())[:20]
        columns = layer.columns(inputs, places, wanted.shape[3])
        weight = layer.weight.reshape(layer.groups, -1, columns.shape[1])
        found = (weight @ columns).reshape(-1, 2, len(places)).permute(1, 0, 2)
        if layer.bias is not None:
            found += layer.bias[:, None]
    assert torch.allclose(found, wanted.flatten(2)[:, :, places], atol=1e-5)


def test_errors_of_columns_are_spread_over_later_ones() -> None:
    torch.manual_seed(0)
    mixed = torch.randn(1, 400, 16, dtype=torch.float64) @ torch.randn(16, 16, dtype=torch.float64)
    gram = mixed.mT @ mixed / 400 + 0.01 * torch.eye(16)
    weight, scale = torch.randn(1, 5, 16, dtype=torch.float64), torch.full((1, 5), 0.2).double()
    found = rounded_columns(weight, gram, scale, 64)
    steps = found / scale[:, :, None]
    assert torch.allclose(steps, steps.round(), atol=1e-9)

    def error(rounded: torch.Tensor) -> float:
        difference = rounded - weight
        return float((difference @ gram @ difference.mT).diagonal(dim1=1, dim2=2).sum())

    nearest = (weight / scale[:, :, None]).round() * scale[:, :, None]
    assert error(found) < 0.8 * error(nearest)
    assert rounded_columns(weight, gram, scale / 1000, 64).abs().max() < 64.1 * 0.2 / 1000


def test_blocks_of_columns_give_what_one_column_after_the_other_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    rows = torch.randn(2, 90, 30, dtype=torch.float64)
    gram = rows.mT @ rows / 90 + 0.01 * torch.eye(30)
    weight, scale = torch.randn(2, 7, 30, dtype=torch.float64), torch.full((2, 7), 0.2).double()
    whole = rounded_columns(weight, gram, scale, 64)
    monkeypatch.setattr(rounding, "BLOCK", 8)
    assert torch.equal(rounded_columns(weight, gram, scale, 64), whole)


def plain() -> nn.Module:
    """Enough layers that rounding shows."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after, groups in ((3, 24, 1), (24, 24, 24), (24, 24, 1), (24, 24, 24), (24, 24, 1)):
        layers += [nn.Conv2d(before, after, 3, padding=1, groups=groups), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 24)).eval()


def test_new_images_are_answered_like_the_float_student() -> None:
    student = plain()
    prepared, fresh = quantized(student), images(96)[48:]
    with torch.no_grad():
        wanted = student(fresh)

    def error(fine: bool) -> float:
        set_observers(prepared, observe=False, quantize=True)
        with torch.no_grad(), finer(prepared) if fine else torch.no_grad():
            return float((prepared(fresh) - wanted).pow(2).mean())

    before = {fine: error(fine) for fine in (False, True)}
    reconstruct(prepared, images(48))
    assert error(True) < before[True] / 3 and error(False) < before[False] / 1.5


def test_what_is_shipped_is_what_was_fitted() -> None:
    """Weights lie on the grid whose scale conversion takes from the observers."""
    prepared = quantized(plain())
    points = [module.zero_point.clone() for module in fake_quantizers(prepared)]
    reconstruct(prepared, images(16))
    for module, point in zip(fake_quantizers(prepared), points, strict=True):
        assert not int(module.observer_enabled[0]) and int(module.fake_quant_enabled[0])
        shipped = module.activation_post_process.calculate_qparams()[0]
        assert torch.equal(module.scale, shipped.reshape(module.scale.shape))
        assert torch.equal(module.zero_point, point)
    for layer in layers_of(prepared):
        flat = layer.weight.detach().flatten(1)
        steps = flat / layer.quantizer.scale[:, None]
        assert float((steps - steps.round()).abs().max()) < 1e-3
        assert torch.equal(
            layer.quantizer(layer.weight), layer.quantizer(flat.reshape_as(layer.weight))
        )


def test_a_cosine_head_computes_its_weight_and_is_left_alone(student: TinyCNN) -> None:
    prepared = quantized(student)
    head = [p for p in prepared.parameters() if p.shape == student.head.weight.shape]
    assert len(head) == 1 and not any(layer.weight is head[0] for layer in layers_of(prepared))
    reconstruct(prepared, images(8))
    assert torch.equal(head[0], student.head.weight)


def test_fitted_weights_are_given_as_they_were_before_rounding() -> None:
    prepared = quantized(plain())
    fitted = reconstruct(prepared, images(48))
    parameters = dict(prepared.graph.named_parameters())
    assert fitted.keys() == parameters.keys()
    for layer in layers_of(prepared):
        step = (fitted[layer.name] - layer.weight).abs() / layer.quantizer.scale.reshape(
            -1, *[1] * (layer.weight.ndim - 1)
        )
        assert 0.1 < float(step.detach().mean()) < 1 and layer.offset in fitted


def test_weights_that_two_layers_share_are_left_alone() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return functional.relu(self.layer(functional.relu(self.layer(pixels))))

    prepared = quantized(Twice().eval())
    before = {name: value.clone() for name, value in prepared.state_dict().items()}
    assert not layers_of(prepared)
    reconstruct(prepared, images(4))
    assert all(torch.equal(value, before[name]) for name, value in prepared.state_dict().items())
