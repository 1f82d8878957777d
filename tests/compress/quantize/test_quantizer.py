"""Where int8 goes."""

from __future__ import annotations

import pytest
import torch
from tiny_models import images
from torch import Tensor, nn

from compress.quantize.graph import PreparedStudent, prepare
from compress.quantize.scales import fake_quantizers


def test_int8_stands_on_every_input_but_the_cosine_heads(prepared: PreparedStudent) -> None:
    """Convolutions, both sides of the residual, pooling, projection; the cosine head is float."""
    inputs: dict[str, list[bool]] = {}
    for node in prepared.graph.graph.nodes:
        if node.op == "call_function":
            sources = [
                str(argument.target)
                for argument in node.args
                if isinstance(argument, torch.fx.Node)
            ]
            flags = ["activation_post_process" in source for source in sources]
            inputs.setdefault(str(node.target), []).append(all(flags[:2]) and bool(flags))
    assert inputs["aten.conv2d.default"] == [True] * 4
    assert inputs["aten.add.Tensor"] == [True]
    assert inputs["aten.mean.dim"] == [True]
    assert inputs["aten.max_pool2d.default"] == [True]
    assert inputs["aten.linear.default"] == [True, False]


@pytest.mark.parametrize(
    ("inputs", "outputs", "quantizes"), [(16, 16, True), (15, 32, False), (32, 15, False)]
)
def test_narrow_linear_layers_stay_float(inputs: int, outputs: int, quantizes: bool) -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(inputs, outputs)

        def forward(self, images: Tensor) -> Tensor:
            return self.fc(images.flatten(1)[:, :inputs])

    assert bool(fake_quantizers(prepare(Head(), images(2)))) is quantizes
