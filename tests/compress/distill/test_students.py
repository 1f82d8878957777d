from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from compress.distill.artifact import DistillArtifact
from compress.distill.first_weights import initialize
from compress.distill.students import Student, spec_for
from compress.engine.config import DistillSettings, ImageSettings
from compress.engine.errors import ConfigError

IMAGE = ImageSettings(size=32, crop_pct=1.0)


def student(
    arch: str = "resnet18", init: str = "random", text: torch.Tensor | None = None, **more: object
) -> Student:
    settings = DistillSettings(student=arch, init=init, **more)  # type: ignore[arg-type]
    text = torch.randn(5, 128) if text is None else text
    torch.manual_seed(0)
    return initialize(settings, spec_for(settings, IMAGE, len(text), text.shape[1]), text)


def test_any_timm_model_becomes_a_classifier(tmp_path: Path) -> None:
    made = student("mobilenetv4_conv_small").eval()
    images = torch.randn(2, 3, 32, 32)
    assert made(images).shape == (2, 5) and made.proj is None
    DistillArtifact(tmp_path).write_student(made)
    assert torch.equal(DistillArtifact(tmp_path).student()(images), made(images))
    assert DistillArtifact(tmp_path).student().spec == made.spec


def test_unknown_student_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'resnet18'"):
        student("resnet118")


def test_first_weights_are_never_replaced_silently(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no 'clip' trunk for this student"):
        student("resnet18", "clip")
    with pytest.raises(ConfigError, match="a .safetensors file"):
        student("resnet18", "timm", init_path=tmp_path / "weights.pth")


def test_a_small_clip_from_a_file_starts_as_a_zero_shot_classifier(tmp_path: Path) -> None:
    donor, text = student(), F.normalize(torch.randn(5, 64), dim=-1)
    weights = {
        f"trunk.{key}": value.contiguous() for key, value in donor.trunk.state_dict().items()
    }
    proj = torch.randn(64, 512)
    save_file(
        {**weights, "proj.weight": proj, "logit_scale": torch.tensor(3.0)},
        tmp_path / "clip.safetensors",
    )
    made = student("resnet18", "clip", text, init_path=tmp_path / "clip.safetensors").eval()
    images = torch.randn(3, 3, 32, 32)
    features = F.normalize(donor.trunk.eval()(images) @ proj.T, dim=-1)
    assert torch.allclose(made(images), torch.tensor(3.0).exp() * features @ text.T, atol=1e-4)
    with pytest.raises(ConfigError, match="does not share the teacher's text space"):
        student("resnet18", "clip", torch.randn(5, 32), init_path=tmp_path / "clip.safetensors")


def test_the_embedded_small_clip_is_its_own_zero_shot_classifier_at_step_0() -> None:
    from compress.petals.weights import load_student_clip

    text = F.normalize(torch.randn(5, 128), dim=-1)
    made = student("petal_cnn", "clip", text).eval()
    weights = load_student_clip()
    images = torch.randn(4, 3, 32, 32)
    features = F.normalize(F.linear(made.trunk(images), weights["proj.weight"].float()), dim=-1)
    expected = weights["logit_scale"].float().exp().clamp(max=100) * features @ text.T
    assert torch.allclose(made(images), expected, atol=1e-4)


def test_frozen_batch_norm_keeps_statistics_and_trains_scales() -> None:
    from compress.distill.stage import freeze_batch_norm

    made = student().train()
    freeze_batch_norm(made)
    before = {key: value.clone() for key, value in made.state_dict().items()}
    made(torch.randn(4, 3, 32, 32)).sum().backward()
    assert all(
        torch.equal(before[key], value)
        for key, value in made.state_dict().items()
        if "running" in key
    )
    assert any(
        p.grad is not None and p.grad.abs().sum() > 0
        for n, p in made.named_parameters()
        if "bn" in n
    )


def test_a_twin_has_another_activation_everywhere_and_the_same_weights(tmp_path: Path) -> None:
    own, twin = student("efficientnet_b0"), student("efficientnet_b0", activation="relu")
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


def test_an_activation_that_cannot_be_had_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="unknown activation"):
        student("efficientnet_b0", activation="relo")
    with pytest.raises(ConfigError, match="activation of petal_cnn cannot be replaced"):
        student("petal_cnn", activation="silu")
