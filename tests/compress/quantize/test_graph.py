from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import SIZE, TinyCNN, images, quantized, tiny_cnn
from torch import Tensor, nn
from torchao.quantization.pt2e import FakeQuantize

from compress.engine.errors import ExportError
from compress.quantize.graph import (
    PreparedStudent,
    capture,
    convert,
    fake_quantizers,
    load_prepared,
    prepare,
    save_prepared,
    set_observers,
)


@pytest.fixture(scope="module")
def student() -> TinyCNN:
    return tiny_cnn()


@pytest.fixture(scope="module")
def prepared(student: TinyCNN) -> PreparedStudent:
    return quantized(student)


def test_capture_folds_batch_norms_with_their_own_eps(student: TinyCNN) -> None:
    graph = capture(student, images(1))
    names = [str(node.target) for node in graph.graph.nodes]
    assert not [name for name in names if "batch_norm" in name or "dropout" in name]
    with torch.no_grad():
        assert torch.allclose(graph(images(5)), student(images(5)), atol=1e-4)


def test_capture_leaves_the_student_alone_and_takes_any_batch(student: TinyCNN) -> None:
    before = {key: value.clone() for key, value in student.state_dict().items()}
    graph = capture(student, images(1))
    assert graph(images(1)).shape == (1, 20) and graph(images(70)).shape == (70, 20)
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())


def test_a_model_that_cannot_be_captured_is_an_error() -> None:
    class Branches(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3)) if float(images.sum()) > 0 else images.amax((2, 3))

    with pytest.raises(ExportError, match="Branches cannot be captured"):
        prepare(Branches(), images(2))


def test_every_grid_is_symmetric_int8_with_zero_point_0(prepared: PreparedStudent) -> None:
    quantizers = fake_quantizers(prepared)
    assert quantizers and all(
        type(module) is FakeQuantize for module in quantizers
    )  # never the fused one
    for module in quantizers:
        assert not module.zero_point.any()
        limits = (module.quant_min, module.quant_max)
        assert limits == ((-127, 127) if module.is_per_channel else (-128, 127))
        trained, shipped = module.scale, module.activation_post_process.calculate_qparams()[0]
        assert torch.equal(
            trained, shipped.reshape(trained.shape)
        )  # the grid that is trained is the grid that ships


def test_placement(prepared: PreparedStudent) -> None:
    """Both sides of the residual, pooling and the projection run in int8; the cosine head stays
    float.
    """
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


def test_conversion_computes_what_was_trained(prepared: PreparedStudent) -> None:
    with torch.no_grad():
        trained, shipped = prepared(images(32)), convert(prepared)(images(32))
    assert torch.equal(trained, shipped)


def test_int8_stays_near_float(student: TinyCNN, prepared: PreparedStudent) -> None:
    with torch.no_grad():
        exact, rounded = student(images(64)), prepared(images(64))
    assert (exact.argmax(1) == rounded.argmax(1)).float().mean() > 0.9
    assert 0 < float((exact - rounded).abs().max()) < 0.15 * float(exact.max() - exact.min())


def test_modes_are_harmless(prepared: PreparedStudent) -> None:
    with torch.no_grad():
        first = prepared.train()(images(4))
        assert torch.equal(first, prepared.eval()(images(4)))


def test_gradients_reach_every_weight(student: TinyCNN) -> None:
    prepared = quantized(student)
    prepared(images(8)).square().mean().backward()
    missing = [name for name, parameter in prepared.named_parameters() if parameter.grad is None]
    assert not missing


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


def test_saved_and_loaded(student: TinyCNN, prepared: PreparedStudent, tmp_path: Path) -> None:
    save_prepared(prepared, tmp_path)
    (tmp_path / "quantize.json").write_text(f'{{"input_size": {SIZE}}}')
    with torch.no_grad():
        assert torch.equal(load_prepared(student, tmp_path)(images(8)), prepared(images(8)))
    with pytest.raises(ExportError, match="does not belong to this student"):
        load_prepared(TinyCNN(width=40), tmp_path)
