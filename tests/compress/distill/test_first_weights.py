"""First weights: zero-shot before training, or a clear error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from distill_targets import new_student
from safetensors.torch import save_file

from compress.distill.first_weights import initialize
from compress.distill.students import spec_for
from compress.engine.config import DistillSettings, ImageSettings
from compress.engine.errors import ConfigError
from compress.petals.weights import load_student_clip
from compress.petals.world import training_flowers


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


def test_first_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    weights = {key: value.contiguous() for key, value in new_student().trunk.state_dict().items()}
    weights["conv1.weight"] = torch.full_like(weights["conv1.weight"], torch.inf)
    save_file(weights, tmp_path / "trunk.safetensors")
    with pytest.raises(ConfigError, match="trunk.safetensors holds weights .* 1 of .*conv1.weight"):
        new_student("resnet18", "timm", init_path=tmp_path / "trunk.safetensors")


def test_the_embedded_small_clip_is_its_own_zero_shot_classifier_at_step_0() -> None:
    text = F.normalize(torch.randn(5, 128), dim=-1)
    student = new_student("petal_cnn", "clip", text).eval()
    weights = load_student_clip()
    images = torch.randn(4, 3, 32, 32)
    features = F.normalize(F.linear(student.trunk(images), weights["proj.weight"].float()), dim=-1)
    expected = weights["logit_scale"].float().exp().clamp(max=100) * features @ text.T
    assert torch.allclose(student(images), expected, atol=1e-4)


def test_narrower_students_start_as_pruned_small_clips() -> None:
    flowers = torch.from_numpy(training_flowers(5000, 5064).images).permute(0, 3, 1, 2)
    pixels = flowers.float() / 127.5 - 1
    texts = F.normalize(torch.randn(4, 128, generator=torch.Generator().manual_seed(0)), dim=-1)
    image = ImageSettings(size=32, crop_pct=1.0)

    def features(name: str) -> torch.Tensor:
        settings = DistillSettings(student=name, init="clip")
        student = initialize(settings, spec_for(settings, image, 4, 128), texts).eval()
        with torch.no_grad():
            out = student.project(student.trunk(pixels))
        assert out is not None
        return out

    whole = features("petal_cnn")
    narrow = ("petal_cnn_w4", "petal_cnn_w8", "petal_cnn_w12")
    # cosine to the whole trunk's features, on unseen flowers
    cosines = [float((features(name) * whole).sum(1).mean()) for name in narrow]
    assert cosines == sorted(cosines) and cosines[-1] > 0.8 and cosines[0] > 0.3
    assert torch.equal(features("petal_cnn_w8"), features("petal_cnn_w8"))
    assert load_student_clip()["proj.weight"].shape == (128, 96)
