"""Every convolution of the int8 file runs in integers, whatever stands around it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.layers import create_conv2d
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from tiny_models import SIZE, images, quantized, settled
from torch import Tensor, nn

from compress.quantize.blocks import operators_of
from compress.quantize.graph import convert, prepare
from compress.quantize.scales import calibrate, set_observers
from export.onnx.convert import save, to_onnx
from export.onnx.float_blocks import float_weights, leave_float, left_float
from export.onnx.graph import GraphView
from export.onnx.parity import compare, onnx_logits, require, torch_logits
from export.onnx.qdq import to_uint8
from export.tensorrt.rules import tensorrt_ready
from runtime.backends.onnxruntime import quantized_kernels

WIDTH = 16


def conv(inputs: int = WIDTH, stride: int = 1, padding: int | str = 1) -> nn.Module:
    return create_conv2d(inputs, WIDTH, 3, stride=stride, padding=padding)


class Excited(nn.Module):
    """Squeeze and excitation: a gate of two small convolutions on the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(WIDTH, WIDTH, 1)
        self.expand = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, maps: Tensor) -> Tensor:
        gate = self.expand(torch.relu(self.reduce(maps.mean((2, 3), keepdim=True))))
        return maps * gate.sigmoid()


class ChannelsLast(nn.Module):
    """ConvNeXt's way: layer normalization of the channels, then linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, maps: Tensor) -> Tensor:
        return self.linear(self.norm(maps.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class Gated(nn.Module):
    """Values of a convolution that an addition and a multiplication read."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps + maps * 0.5


#: what stands between convolutions, a network each
BETWEEN: dict[str, list[nn.Module]] = {
    "padding": [
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Sequential(nn.ConstantPad2d(2, 0.0), nn.ZeroPad2d(1)),
        nn.Dropout2d(0.3),
        nn.Identity(),
        nn.BatchNorm2d(WIDTH),
        nn.Sequential(nn.ReLU6(), nn.BatchNorm2d(WIDTH)),
    ],
    "activations": [
        nn.ReLU(),
        nn.ReLU6(),
        nn.LeakyReLU(0.1),
        nn.SiLU(),
        nn.Hardswish(),
        nn.GELU(),
        nn.PReLU(),
    ],
    "pooling": [
        nn.MaxPool2d(3, 2, 1),
        MaxPool2dSame(3, 2),
        nn.Sequential(nn.ConstantPad2d(1, 0.0), nn.MaxPool2d(3, 2)),
        AvgPool2dSame(3, 2),
    ],
    "branches": [Excited(), nn.Sequential(nn.ReLU(), Excited()), ChannelsLast(), Gated()],
}


def network(between: Sequence[nn.Module]) -> nn.Module:
    """A convolution before and after each module, the first and the last TF-style; small head."""
    torch.manual_seed(0)
    layers = [conv(3, 2, "same"), nn.ReLU(), conv()]
    for module in between:
        layers += [copy.deepcopy(module), conv()]
    head = [conv(stride=2, padding="same"), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return settled(nn.Sequential(*layers, *head, nn.Linear(WIDTH, 12)))


def head_network(classes: int) -> nn.Module:
    """MobileNetV3's and V4's head: a convolution behind the pooling, then the classifier."""
    torch.manual_seed(0)
    body = [conv(3, 2, "same"), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    head = [nn.Conv2d(WIDTH, 32, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, classes)]
    return settled(nn.Sequential(*body, *head))


def check(student: nn.Module, folder: Path) -> dict[str, int]:
    """Kernels of the file for onnxruntime; both files must compute what the torch graph does."""
    prepared = quantized(student)
    model = to_onnx(convert(prepared), SIZE)
    assert tensorrt_ready(model) == []
    pictures = images(32, seed=7).numpy()
    reference = torch_logits(prepared, pictures)
    files = {"int8": to_uint8(model), "int8.trt": model}
    for name, one in files.items():
        path = save(one, folder / f"model.{name}.onnx")
        require(compare(path, reference, pictures, precision="int8"))
    return quantized_kernels(folder / "model.int8.onnx")


@pytest.mark.parametrize("name", BETWEEN)
def test_what_stands_between_two_convolutions_keeps_neither_in_float(
    name: str, tmp_path: Path
) -> None:
    kernels = check(network(BETWEEN[name]), tmp_path)
    assert not {"Conv", "FusedConv"} & set(kernels), kernels
    assert kernels["QLinearConv"] >= 3 + len(BETWEEN[name])


@pytest.mark.parametrize("classes", [2, 20])
def test_a_convolution_before_the_classifier_runs_in_int8(classes: int, tmp_path: Path) -> None:
    kernels = check(head_network(classes), tmp_path)
    assert not {"Conv", "FusedConv"} & set(kernels) and kernels["QLinearConv"] == 2
    assert ("QGemm" in kernels) == (classes >= 16), "a small linear layer stays float"


def test_each_operator_can_be_left_in_float(tmp_path: Path) -> None:
    between = [nn.ZeroPad2d((0, 1, 0, 1)), nn.SiLU(), Excited(), Gated()]
    prepared = quantized(network(between))
    model = to_onnx(convert(prepared), SIZE)
    operators = operators_of(prepared.graph)
    weights = float_weights(prepared, operators)
    pictures = images(16, seed=7).numpy()
    limit = compare(
        save(model, tmp_path / "all.onnx"),
        torch_logits(prepared, pictures),
        pictures,
        precision="int8",
    ).tolerance
    for operator in operators:
        twin = leave_float(model, operators, {operator.name}, weights)
        path = save(twin, tmp_path / "twin.onnx")
        ours = torch_logits(left_float(prepared, {operator.name}), pictures)
        assert np.abs(onnx_logits(path, fused=False)(pictures) - ours).max() <= limit
    everything = leave_float(model, operators, {one.name for one in operators}, weights)
    kept = [node for node in everything.graph.node if node.op_type == "QuantizeLinear"]
    assert len(kept) <= 1, "at most behind a clipped convolution"


def test_tf_style_padding_needs_no_node() -> None:
    student = network([nn.ReLU6()])
    for model in (to_onnx(student, SIZE), to_onnx(convert(quantized(student)), SIZE)):
        assert not [node for node in model.graph.node if node.op_type == "Pad"]


def test_a_result_that_every_reader_quantizes_gets_no_second_quantizer() -> None:
    model = to_onnx(convert(quantized(network([nn.ReLU()]))), SIZE)
    view = GraphView(model)
    quantizers = sum(view.quantizes_activation(node) for node in model.graph.node)
    assert quantizers == 5, "before four convolutions and the pooling"


def test_the_largest_products_are_no_other_on_processors_without_vnni(tmp_path: Path) -> None:
    """Such kernels add pairs of products in 16 bits, and cut off what does not fit."""
    torch.manual_seed(0)
    bright = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU())
    with torch.no_grad():
        for layer in (bright[0], bright[2]):
            layer.weight.abs_()  # nothing cancels
    pictures = images(8).abs() + 1
    graph = prepare(bright, pictures)
    calibrate(graph, pictures)
    set_observers(graph, observe=False, quantize=True)
    path = save(to_uint8(to_onnx(convert(graph), SIZE)), tmp_path / "model.onnx")
    with torch.no_grad():
        exact = graph(pictures).numpy()
    shipped = onnx_logits(path)(pictures.numpy())
    assert np.abs(exact - shipped).max() <= 2 * exact.max() / 127
