from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from tiny_models import SIZE, images, quantized, settled, student, tiny_cnn
from torch import Tensor, nn
from torch.nn import functional

from compress.engine.errors import ExportError
from compress.quantize.blocks import blocks_of, operators_of
from compress.quantize.graph import PreparedStudent, convert, prepare
from compress.quantize.reconstruct import reconstruct
from compress.quantize.scales import calibrate, set_observers
from export.onnx.convert import save, to_onnx
from export.onnx.float_blocks import additions_left_float, float_weights, leave_float, left_float
from export.onnx.parity import compare, onnx_logits, require
from export.onnx.qdq import to_uint8
from export.tensorrt.rules import tensorrt_ready

ARCHS = (
    "tiny",
    "petal_cnn",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("resnet18", "mobilenetv4_conv_small", "efficientnet_b0")
    ),
)


class Made:
    """A calibrated student and its int8 file of TensorRT."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.prepared = model, quantized(model)
        self.int8 = to_onnx(convert(self.prepared), SIZE)
        self.operators = operators_of(self.prepared.graph)
        self.weights = float_weights(self.prepared, self.operators)

    def mixed(self, names: set[str]) -> ModelProto:
        return leave_float(self.int8, self.operators, names, self.weights)


_MADE: dict[str, Made] = {}


def made(arch: str) -> Made:
    if arch not in _MADE:
        _MADE[arch] = Made(tiny_cnn() if arch == "tiny" else settled(student(arch, SIZE)))
    return _MADE[arch]


def ops(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("arch", ARCHS)
def test_everything_in_float_is_the_float_student(arch: str, tmp_path: Path) -> None:
    its = made(arch)
    plain = its.mixed({operator.name for operator in its.operators})
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(ops(plain))
    views = images(16)
    with torch.no_grad():
        wanted = its.model(views).numpy()
    got = onnx_logits(save(plain, tmp_path / "plain.onnx"))(views.numpy())
    assert np.abs(got - wanted).max() < 1e-3 * np.ptp(wanted)


@pytest.mark.parametrize("arch", ARCHS)
def test_one_block_in_float_computes_what_torch_does(arch: str, tmp_path: Path) -> None:
    """The file of onnxruntime and the one of TensorRT, against the prepared graph without that
    block's quantizers.
    """
    its, views = made(arch), images(16)
    blocks = blocks_of(its.operators, 4)
    for block in (blocks[0], blocks[-1]):
        names = {operator.name for operator in block.operators}
        reference = left_float(its.prepared, names)
        assert len(operators_of(reference.graph)) == len(
            its.operators
        )  # annotations stay, quantizers go
        with torch.no_grad():
            wanted = reference(views).numpy()
        mixed = its.mixed(names)
        assert 0 < ops(mixed).count("QuantizeLinear") < ops(its.int8).count("QuantizeLinear")
        for form in (mixed, to_uint8(mixed)):
            path = save(form, tmp_path / "mixed.onnx")
            require(compare(path, wanted, views.numpy(), precision="int8"))


class Tokens(nn.Module):
    """A linear layer on tokens, which becomes a MatMul and an addition."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 64, 8, 8)
        self.mix, self.head = nn.Linear(64, 64), nn.Linear(64, 5)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = functional.relu(self.patches(pixels)).flatten(2).transpose(1, 2)
        return self.head(functional.relu(self.mix(tokens)).mean(1))


@pytest.mark.parametrize("name", ["tiny", "petal_cnn", "tokens"])
def test_blocks_that_were_rounded_layer_by_layer_come_back_as_fitted(
    name: str, tmp_path: Path
) -> None:
    model = {"tiny": tiny_cnn, "tokens": Tokens}.get(name, lambda: student("petal_cnn", SIZE))()
    prepared, views = quantized(settled(model)), images(16)
    fitted = reconstruct(prepared, images(64))
    int8, operators = to_onnx(convert(prepared), SIZE), operators_of(prepared.graph)
    weights = float_weights(prepared, operators, fitted)
    assert fitted.keys() <= weights.keys()
    biases = [o.bias for o in operators if o.bias is not None]
    assert biases and any(not np.array_equal(weights[b], state_of(prepared)[b]) for b in biases)
    for names in ({operators[0].name, operators[-1].name}, {o.name for o in operators}):
        mixed = leave_float(int8, operators, names, weights)
        reference = left_float(prepared, names, weights)
        with torch.no_grad():
            wanted = reference(views).numpy()
        path = save(to_uint8(mixed), tmp_path / "mixed.onnx")
        require(compare(path, wanted, views.numpy(), precision="int8"))
    assert name == "tokens" or "QuantizeLinear" not in ops(mixed)  # one stays before a reshape
    got = onnx_logits(path)(views.numpy())
    assert np.abs(got - wanted).max() < 3e-3 * np.ptp(wanted)
    assert {f"{bias}.float" for bias in biases} <= {row.name for row in mixed.graph.initializer}


def state_of(prepared: PreparedStudent) -> dict[str, NDArray[np.float32]]:
    return {name: value.detach().numpy() for name, value in prepared.graph.named_parameters()}


def test_nothing_in_float_is_the_int8_file() -> None:
    its = made("tiny")
    assert its.mixed(set()) == its.int8


def test_the_rewrite_repeats_and_leaves_its_source_alone() -> None:
    its = made("resnet18")
    before = its.int8.SerializeToString(deterministic=True)
    names = {operator.name for operator in its.operators if operator.path.startswith("layer3")}
    one, two = (its.mixed(names).SerializeToString(deterministic=True) for _ in range(2))
    assert one == two and its.int8.SerializeToString(deterministic=True) == before


def test_a_tensor_that_int8_reads_too_keeps_its_quantizer() -> None:
    """The input of a residual block goes to a convolution and to the addition: only the convolution
    leaves int8.
    """
    its = made("resnet18")
    first = next(operator for operator in its.operators if operator.path == "layer1.1.conv1")
    mixed = its.mixed({first.name})
    assert ops(mixed).count("QuantizeLinear") == ops(its.int8).count("QuantizeLinear")
    assert (
        ops(mixed).count("DequantizeLinear") == ops(its.int8).count("DequantizeLinear") - 1
    )  # its weights'


def test_another_students_file_is_refused() -> None:
    its, other = made("tiny"), made("petal_cnn")
    names = {its.operators[0].name}
    with pytest.raises(ExportError, match="not the one of this student"):
        leave_float(other.int8, its.operators, names, its.weights)
    strange = {name: -weight for name, weight in its.weights.items()}
    with pytest.raises(ExportError, match="not those of the int8 file"):
        leave_float(its.int8, its.operators, names, strange)
    short = {**its.weights, its.operators[0].bias: np.zeros(1, np.float32)}
    with pytest.raises(ExportError, match="the bias of Conv .* is not"):
        leave_float(its.int8, its.operators, names, short)


def with_float_blocks(
    arch: str, names: tuple[str, ...]
) -> tuple[nn.Module, PreparedStudent, ModelProto]:
    model = settled(student(arch, SIZE))
    prepared = prepare(model, images(2), names)
    calibrate(prepared, images(64))
    set_observers(prepared, observe=False, quantize=True)
    return model, prepared, to_onnx(convert(prepared), SIZE)


@pytest.mark.parametrize(
    ("arch", "names"),
    [
        pytest.param("resnet18", ("layer2", "head"), marks=pytest.mark.slow),
        pytest.param("efficientnet_b0", ("blocks.5", "conv_stem"), marks=pytest.mark.slow),
        ("petal_cnn", ("layers.0",)),
    ],
)
def test_float_blocks_of_the_settings_are_float_in_both_files(
    arch: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    its = made(arch)
    _, prepared, int8 = with_float_blocks(arch, names)
    left = {
        operator.name
        for operator in its.operators
        if any(operator.path.startswith(name) for name in names)
    }
    # the same graph as by removal, up to the names of tensors
    removed = its.mixed(left)
    assert sorted(ops(int8)) == sorted(ops(removed)) and ops(int8).count("QuantizeLinear") > 0
    additions = additions_left_float(prepared, int8, names)
    assert tensorrt_ready(int8, additions) == []
    views = images(16)
    with torch.no_grad():
        wanted = prepared(views).numpy()
    for form in (int8, to_uint8(int8)):
        path = save(form, tmp_path / "mixed.onnx")
        require(compare(path, wanted, views.numpy(), precision="int8"))
        convolutions = [node for node in onnx.load(path).graph.node if node.op_type == "Conv"]
        dequantized = {
            node.output[0] for node in form.graph.node if node.op_type == "DequantizeLinear"
        }
        floats = [node for node in convolutions if not dequantized & set(node.input)]
        quantized_ones = [
            o for o in its.operators if o.kind == "convolution" and o.name not in left
        ]
        assert len(convolutions) - len(floats) == len(quantized_ones) and floats


def test_an_addition_in_float_by_accident_is_still_a_violation() -> None:
    _, prepared, int8 = with_float_blocks("resnet18", ("layer2",))
    assert len(additions_left_float(prepared, int8, ("layer2",))) == 2
    assert [text for text in tensorrt_ready(int8) if "the residual runs in float" in text]
    assert additions_left_float(prepared, int8, ()) == []
