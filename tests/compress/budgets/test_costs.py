"""Operations and bytes of graphs: by hand on small ones, against torch's counter and published
figures on known networks.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import quantized, tiny_cnn
from torch import nn

from compress.budgets.costs import costs_of
from compress.engine.errors import BudgetError
from compress.quantize.graph import convert
from export.onnx.convert import save, to_onnx
from export.onnx.qdq import to_uint8

# GMACs at 224 px: He et al. 2016 (ResNet-18), Qin et al. 2024 and timm's table (MobileNetV4), Tan
# and Le 2019, timm (ViT-B/32)
PUBLISHED = {
    "resnet18": (1.82, 0.02),
    "mobilenetv4_conv_small": (0.19, 0.03),
    "efficientnet_b0": (0.39, 0.02),
    "vit_base_patch32_224": (4.41, 0.02),
}


def counted(name: str) -> float:
    """Multiply-accumulates of a timm model, by torch's own counter, without any weights."""
    import timm
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False, exportable=True).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            model(torch.zeros(1, 3, 224, 224))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    "name",
    ["mobilenetv4_conv_small"]
    + [
        pytest.param(name, marks=pytest.mark.slow)
        for name in PUBLISHED
        if name != "mobilenetv4_conv_small"
    ],
)
def test_known_networks_cost_what_is_published(name: str) -> None:
    import timm

    costs = costs_of(to_onnx(timm.create_model(name, pretrained=False).eval(), 224))
    published, tolerance = PUBLISHED[name]
    assert costs.macs / 1e9 == pytest.approx(published, rel=tolerance)
    assert costs.unpriced == ()
    if not name.startswith(
        "vit"
    ):  # torch's counter does not see inside fused attention on every version
        assert costs.macs == pytest.approx(counted(name), rel=0.005)


class Small(nn.Module):
    """A convolution with bias and ReLU, a depthwise one that adds its input, pooling, a linear
    layer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.deep = nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        return self.head((x + torch.relu(self.deep(x))).mean((2, 3)))


def test_a_small_network_by_hand() -> None:
    costs = costs_of(to_onnx(Small().eval(), 16))
    stem, deep, pool, head = costs.kernels
    assert [k.op for k in costs.kernels] == ["Conv", "Conv", "ReduceMean", "Gemm"]
    assert (stem.kind, deep.kind, pool.kind, head.kind) == (
        "dense",
        "depthwise",
        "elementwise",
        "dense",
    )
    assert stem.macs == 64 * 8 * 27 and deep.macs == 64 * 8 * 9 and head.macs == 40
    assert stem.ops == 2 * stem.macs + 64 * 8  # the ReLU runs inside
    assert deep.nodes == 3 and deep.ops == 2 * deep.macs + 2 * 64 * 8
    assert stem.weight_bytes == 4 * (8 * 27 + 8) and deep.weight_bytes == 4 * 72
    assert stem.read_bytes == 4 * 3 * 256 and stem.write_bytes == 4 * 512
    assert (
        deep.read_bytes == 4 * 512 and deep.write_bytes == 4 * 512
    )  # the skip is read once, ReLUs never leave
    assert head.weight_bytes == 4 * 45 and head.write_bytes == 4 * 5
    assert (stem.block, deep.block, head.block) == ("stem", "deep", "head")
    assert costs.macs == stem.macs + deep.macs + head.macs and costs.int8_share == 0
    assert costs.peak_bytes == max(4 * (768 + 512), 4 * (512 + 512))


def test_int8_graphs_cost_a_quarter_of_the_bytes() -> None:
    model = tiny_cnn()
    float_costs = costs_of(to_onnx(model, 32))
    int8 = to_onnx(convert(quantized(model)), 32)
    for twin in (int8, to_uint8(int8)):
        costs = costs_of(twin)
        assert costs.macs == float_costs.macs
        assert costs.int8_share > 0.99
        assert costs.weight_bytes < 0.4 * float_costs.weight_bytes  # biases stay float
        inside = [k for k in costs.kernels if k.precision == "int8"][1:-1]
        assert sum(k.read_bytes for k in inside) < 0.3 * sum(
            k.read_bytes for k in float_costs.kernels[1:-1]
        )


def test_a_batch_of_any_size_is_counted_as_one_image() -> None:
    free = to_onnx(Small().eval(), 16)
    fixed = type(free)()
    fixed.CopyFrom(free)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    assert costs_of(free).macs == costs_of(fixed).macs


def test_an_unknown_operation_is_named_and_not_passed_over() -> None:
    import onnx
    from onnx import TensorProto, helper

    nodes = [helper.make_node("CumSum", ["images", "axis"], ["logits"])]
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor("axis", TensorProto.INT64, [], [1])],
    )
    costs = costs_of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    assert costs.unpriced == ("CumSum",) and len(costs.kernels) == 1 and onnx.__version__


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"\xff" * 64)
    with pytest.raises(BudgetError, match="not an ONNX model"):
        costs_of(file)
    free = to_onnx(Small().eval(), 16)
    free.graph.input[0].type.tensor_type.shape.dim[2].Clear()
    with pytest.raises(BudgetError, match="shape"):
        costs_of(free)
    assert costs_of(save(to_onnx(Small().eval(), 16), tmp_path / "good.onnx")).macs > 0
