"""Capture, preparation, conversion and storage of a student's graph."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import SIZE, TinyCNN, images, quantized
from torch import Tensor, nn

from compress.engine.errors import ExportError
from compress.quantize.artifact import QuantizeArtifact
from compress.quantize.graph import PreparedStudent, capture, convert, load_prepared, prepare


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


def test_conversion_computes_what_was_trained(prepared: PreparedStudent) -> None:
    with torch.no_grad():
        trained, shipped = prepared(images(32)), convert(prepared)(images(32))
    assert torch.equal(trained, shipped)


def test_int8_stays_near_float(student: TinyCNN, prepared: PreparedStudent) -> None:
    with torch.no_grad():
        exact, rounded = student(images(64)), prepared(images(64))
    assert (exact.argmax(1) == rounded.argmax(1)).float().mean() > 0.9
    assert 0 < float((exact - rounded).abs().max()) < 0.15 * float(exact.max() - exact.min())


def test_train_and_eval_change_nothing(prepared: PreparedStudent) -> None:
    with torch.no_grad():
        first = prepared.train()(images(4))
        assert torch.equal(first, prepared.eval()(images(4)))


def test_gradients_reach_every_weight(student: TinyCNN) -> None:
    prepared = quantized(student)
    prepared(images(8)).square().mean().backward()
    missing = [name for name, parameter in prepared.named_parameters() if parameter.grad is None]
    assert not missing


def test_a_stored_state_computes_the_same_and_refuses_another_student(
    student: TinyCNN, prepared: PreparedStudent, tmp_path: Path
) -> None:
    artifact = QuantizeArtifact(tmp_path)
    artifact.write(prepared.state_dict(), {"input_size": SIZE}, [], [])
    with torch.no_grad():
        assert torch.equal(load_prepared(student, artifact)(images(8)), prepared(images(8)))
    with pytest.raises(ExportError, match="does not belong to this student"):
        load_prepared(TinyCNN(width=40), artifact)
