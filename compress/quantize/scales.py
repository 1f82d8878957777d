"""The int8 scales: the grid of weights and activations, and the ranges that set it.

Activations are symmetric int8 per tensor (zero point 0, -128..127), weights symmetric int8 per
output channel. An activation's range is the moving average of its batches' ranges; a weight's is
its current one.

Weights of matrix products keep to -64..64, one bit less. x86 processors without VNNI (most before
2020, AMD's before Zen 4) add two products of an unsigned activation and a weight in 16 bits, and
what does not fit is cut off: 2 * 255 * 64 fits, 2 * 255 * 127 does not, and a network then answers
differently there, without a word. Depthwise convolutions are no matrix products: kernels add them
in 32 bits, and their weights use all of int8.

The fake quantizers are torchao's plain ``FakeQuantize``: its fused default trains on another grid
than conversion emits (zero point -128 and half the scale after a ReLU), so the shipped model would
not be the trained one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torchao.quantization.pt2e import (
    FakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantizer import QuantizationSpec

from compress.engine import ranks
from compress.engine.progress import SILENT, Task

EPS = 2.0**-12  # smallest scale: an all-zero channel (pruned, dead ReLU) must not divide by zero
CALIBRATION_CHUNK = 32  # images per batch; a range averages batches, so one outlier cannot set it
TRAINING_AVERAGING = 0.01  # torch's default for moving ranges

ACTIVATION = QuantizationSpec(
    dtype=torch.int8,
    quant_min=-128,
    quant_max=127,
    qscheme=torch.per_tensor_symmetric,
    is_dynamic=False,
    observer_or_fake_quant_ctr=FakeQuantize.with_args(
        observer=MovingAverageMinMaxObserver, eps=EPS
    ),
)
PRODUCT_LIMIT = 64  # of weights that are summed in pairs of 16 bits
DEPTHWISE_LIMIT = 127  # symmetric, so that negating a kernel is exact


def _weight(limit: int) -> QuantizationSpec:
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=-limit,
        quant_max=limit,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
        is_dynamic=False,
        observer_or_fake_quant_ctr=FakeQuantize.with_args(
            observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0, eps=EPS
        ),
    )


WEIGHT, DEPTHWISE_WEIGHT = _weight(PRODUCT_LIMIT), _weight(DEPTHWISE_LIMIT)


def fake_quantizers(model: nn.Module) -> list[FakeQuantize]:
    """Every fake quantizer, in graph order."""
    return [module for module in model.modules() if isinstance(module, FakeQuantize)]


def set_observers(model: nn.Module, *, observe: bool, quantize: bool) -> None:
    """Switches range observation and rounding of every fake quantizer; saved with the weights."""
    for module in fake_quantizers(model):
        module.observer_enabled[0] = int(observe)
        module.fake_quant_enabled[0] = int(quantize)


def set_averaging(model: nn.Module, constant: float) -> None:
    """Sets the weight of the newest batch in the moving range of every activation."""
    for module in fake_quantizers(model):
        if not module.is_per_channel:
            module.activation_post_process.averaging_constant = constant


@contextmanager
def finer(model: nn.Module) -> Iterator[None]:
    """Meanwhile activations that are never negative use all steps, as in onnxruntime's file.

    There they are uint8 (``export/onnx/qdq.py``); TensorRT's have half as many steps.
    """
    kept = []
    for module in fake_quantizers(model):
        if not module.is_per_channel and bool((module.activation_post_process.min_val >= 0).all()):
            kept.append((module, module.scale.clone(), module.zero_point.clone()))
            module.scale.mul_(127 / 255)
            module.zero_point.fill_(module.quant_min)
    try:
        yield
    finally:
        for module, scale, point in kept:
            module.scale.copy_(scale)
            module.zero_point.copy_(point)


def share_ranges(model: nn.Module) -> None:
    """From now on activations' ranges follow the rows of all ranks of torchrun; of one: nothing."""
    if ranks.count() == 1:
        return

    def extremes(observer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        least, most = torch.aminmax(inputs[0].detach().float())
        # no maximum of NaN is defined between ranks: infinity stands for it on the way
        ends = ranks.largest(
            torch.stack([-least, most]).nan_to_num(nan=torch.inf, posinf=torch.inf)
        )
        ends = torch.where(ends.isinf(), torch.nan, ends)
        return (torch.stack([-ends[0], ends[1]]),)

    for module in fake_quantizers(model):
        if not module.is_per_channel:  # weights are the same on all ranks
            module.activation_post_process.register_forward_pre_hook(extremes)


def calibrate(prepared: nn.Module, images: Tensor, task: Task = SILENT) -> None:
    """Sets every range to the mean of its batches' ranges; leaves observers and rounding on.

    Args:
        images: ``(n, 3, S, S)`` float32, normalized; interleaved, so that batches are alike.
        task: told of every batch.
    """
    set_observers(prepared, observe=True, quantize=False)  # ranges of the float activations
    chunks = max(1, len(images) // CALIBRATION_CHUNK)
    with torch.no_grad():
        for index in range(chunks):
            set_averaging(prepared, 1 / (index + 1))
            batch = images[index::chunks]
            prepared(batch)
            task.advance(len(batch))
    set_averaging(prepared, TRAINING_AVERAGING)
    set_observers(prepared, observe=True, quantize=True)
