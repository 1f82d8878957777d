"""The int8 grid and its ranges: symmetry, calibration, frozen observers."""

from __future__ import annotations

import pytest
import torch
from tiny_models import TinyCNN, images, quantized
from torchao.quantization.pt2e import FakeQuantize

from compress.quantize.graph import PreparedStudent, prepare
from compress.quantize.scales import TRAINING_AVERAGING, calibrate, fake_quantizers, set_observers


def test_every_grid_is_symmetric_int8_with_zero_point_0(prepared: PreparedStudent) -> None:
    quantizers = fake_quantizers(prepared)
    assert quantizers and all(
        type(module) is FakeQuantize for module in quantizers
    )  # never the fused one
    for module in quantizers:
        assert not module.zero_point.any()
        limits = (module.quant_min, module.quant_max)
        weights = {(-64, 64), (-127, 127)}  # of products, and of depthwise convolutions
        assert limits in (weights if module.is_per_channel else {(-128, 127)})
        trained, shipped = module.scale, module.activation_post_process.calculate_qparams()[0]
        assert torch.equal(
            trained, shipped.reshape(trained.shape)
        )  # the grid that is trained is the grid that ships


def test_calibration_takes_the_mean_of_the_batches_ranges(student: TinyCNN) -> None:
    prepared = prepare(student, images(2))
    pictures = images(64)
    calibrate(prepared, pictures)
    first = next(module for module in fake_quantizers(prepared) if not module.is_per_channel)
    halves = [pictures[0::2], pictures[1::2]]
    expected = sum(float(half.max()) for half in halves) / 2
    assert float(first.activation_post_process.max_val) == pytest.approx(expected, rel=1e-5)
    assert first.activation_post_process.averaging_constant == TRAINING_AVERAGING


def test_frozen_observers_do_not_move(student: TinyCNN) -> None:
    prepared = quantized(student)
    before = [module.scale.clone() for module in fake_quantizers(prepared)]
    prepared(10 * images(8))
    assert all(
        torch.equal(a, b.scale) for a, b in zip(before, fake_quantizers(prepared), strict=True)
    )
    set_observers(prepared, observe=True, quantize=True)
    prepared(10 * images(8))
    assert not all(
        torch.equal(a, b.scale) for a, b in zip(before, fake_quantizers(prepared), strict=True)
    )
