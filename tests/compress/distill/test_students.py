"""Students: built, stored, with another activation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from distill_targets import new_student

from compress.distill.artifact import DistillArtifact
from compress.distill.students import SignedRoot
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


@pytest.mark.parametrize("arch", ["tf_efficientnet_lite0", "mobilenetv4_conv_small", "test_vit"])
def test_power_norm_takes_signed_roots_of_the_pooled_features(arch: str, tmp_path: Path) -> None:
    own, rooted = new_student(arch).eval(), new_student(arch, power_norm=True).eval()
    rooted.load_state_dict(own.state_dict())
    edge = 160 if arch == "test_vit" else 32
    images = torch.randn(2, 3, edge, edge)
    pooled = own.trunk(images)
    expected = pooled.sign() * pooled.abs().sqrt()
    torch.testing.assert_close(rooted.trunk(images), expected, atol=0.02, rtol=0.02)
    assert torch.equal(rooted(images), rooted.head(rooted.trunk(images)))
    DistillArtifact(tmp_path).write_student(rooted)
    assert torch.equal(DistillArtifact(tmp_path).student()(images), rooted(images))
    slope = torch.zeros(3, requires_grad=True)
    SignedRoot()(slope).sum().backward()
    assert slope.grad is not None and slope.grad.isfinite().all()


def test_power_norm_of_a_network_without_one_classifier_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="--set distill.power_norm=false"):
        new_student("deit_tiny_distilled_patch16_224", power_norm=True)
