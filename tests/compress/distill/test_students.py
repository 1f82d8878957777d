"""Students: built, stored, with another activation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from distill_targets import new_student

from compress.distill.artifact import DistillArtifact
from compress.engine.errors import ConfigError


def test_any_timm_model_becomes_a_classifier(tmp_path: Path) -> None:
    student = new_student("mobilenetv4_conv_small").eval()
    images = torch.randn(2, 3, 32, 32)
    assert student(images).shape == (2, 5) and student.proj is None
    DistillArtifact(tmp_path).write_student(student)
    assert torch.equal(DistillArtifact(tmp_path).student()(images), student(images))
    assert DistillArtifact(tmp_path).student().spec == student.spec


def test_unknown_student_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'resnet18'"):
        new_student("resnet118")


def test_a_twin_has_another_activation_everywhere_and_the_same_weights(tmp_path: Path) -> None:
    own, twin = new_student("efficientnet_b0"), new_student("efficientnet_b0", activation="relu")
    kinds = {type(module).__name__ for module in twin.modules()}
    assert (
        "ReLU" in kinds
        and "SiLU" not in kinds
        and "SiLU" in {type(module).__name__ for module in own.modules()}
    )
    twin.load_state_dict(own.state_dict())
    DistillArtifact(tmp_path).write_student(twin)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(DistillArtifact(tmp_path).student()(images), twin.eval()(images))
    assert not torch.equal(own.eval()(images), twin(images))


def test_an_unavailable_activation_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="unknown activation"):
        new_student("efficientnet_b0", activation="relo")
    with pytest.raises(ConfigError, match="activation of petal_cnn cannot be replaced"):
        new_student("petal_cnn", activation="silu")
