"""First weights: zero-shot before training, or a clear error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from distill_targets import new_student
from safetensors.torch import save_file

from compress.engine.errors import ConfigError
from compress.petals.weights import load_student_clip


def test_first_weights_are_never_replaced_silently(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no 'clip' trunk for this student"):
        new_student("resnet18", "clip")
    with pytest.raises(ConfigError, match="a .safetensors file"):
        new_student("resnet18", "timm", init_path=tmp_path / "weights.pth")


def test_a_small_clip_from_a_file_starts_as_a_zero_shot_classifier(tmp_path: Path) -> None:
    donor, text = new_student(), F.normalize(torch.randn(5, 64), dim=-1)
    weights = {
        f"trunk.{key}": value.contiguous() for key, value in donor.trunk.state_dict().items()
    }
    proj = torch.randn(64, 512)
    save_file(
        {**weights, "proj.weight": proj, "logit_scale": torch.tensor(3.0)},
        tmp_path / "clip.safetensors",
    )
    student = new_student("resnet18", "clip", text, init_path=tmp_path / "clip.safetensors").eval()
    images = torch.randn(3, 3, 32, 32)
    features = F.normalize(donor.trunk.eval()(images) @ proj.T, dim=-1)
    assert torch.allclose(student(images), torch.tensor(3.0).exp() * features @ text.T, atol=1e-4)
    with pytest.raises(ConfigError, match="does not share the teacher's text space"):
        new_student("resnet18", "clip", torch.randn(5, 32), init_path=tmp_path / "clip.safetensors")


def test_the_embedded_small_clip_is_its_own_zero_shot_classifier_at_step_0() -> None:
    text = F.normalize(torch.randn(5, 128), dim=-1)
    student = new_student("petal_cnn", "clip", text).eval()
    weights = load_student_clip()
    images = torch.randn(4, 3, 32, 32)
    features = F.normalize(F.linear(student.trunk(images), weights["proj.weight"].float()), dim=-1)
    expected = weights["logit_scale"].float().exp().clamp(max=100) * features @ text.T
    assert torch.allclose(student(images), expected, atol=1e-4)
