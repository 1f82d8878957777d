"""A published small CLIP as the student's start: a tiny open_clip model with a timm tower, loaded
from its folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_models import stage_context
from tiny_sources import MODEL, save_folder

from compress.distill import stage
from compress.distill.artifact import OBJECTIVE, DistillArtifact
from compress.distill.first_weights import initialize
from compress.distill.small_clip import read_small_clip, require_tower
from compress.distill.students import StudentSpec, spec_for
from compress.engine.config import DistillSettings, ImageSettings, TeacherSettings
from compress.engine.errors import ConfigError
from compress.teacher.loading import load_clip

TOWER = {
    "image_size": 32,
    "timm_model_name": "test_resnet",
    "timm_pool": "avg",
    "timm_proj": "linear",
}
PROMPTS = [["a photo of a rose"], ["a photo of an oak"], ["a photo of a daisy"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small")
    save_folder(path, {**MODEL, "vision_cfg": TOWER})
    return path


def test_before_training_it_is_the_small_clips_own_zero_shot_classifier(folder: Path) -> None:
    from compress.engine.config import TeacherSettings
    from compress.teacher.loading import load_teacher

    small = read_small_clip(folder, "test_resnet", PROMPTS)
    settings = DistillSettings(student="test_resnet", init="clip", init_path=folder)
    spec = spec_for(settings, ImageSettings(size=32, crop_pct=1.0), 3, 99, small)
    student = initialize(settings, spec, torch.zeros(3, 99), small).eval()
    assert spec.own_space and spec.embed_dim == 24 and spec.mean == small.mean
    clip = load_teacher(TeacherSettings(name=str(folder)))
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        features = F.normalize(clip.model.encode_image(images), dim=-1)
        expected = clip.logit_scale * features @ torch.from_numpy(clip.class_head(PROMPTS)).T
        assert torch.allclose(student(images), expected, atol=1e-4)
        assert student.outputs(images).features is None, "its space is not the teacher's"


def test_the_stage_trains_it_with_feature_distillation_and_it_loads_again(
    folder: Path, tmp_path: Path
) -> None:
    distill = {"init": "clip", "init_path": str(folder), "objective": "fd_kd", "steps": 3}
    ctx = stage_context(tmp_path, "small", distill=distill)
    facts = stage.run(ctx)
    assert facts["init"] == "clip" and DistillArtifact(ctx.folder).student().spec.own_space
    assert (ctx.folder / OBJECTIVE).exists(), "the projector into the teacher's space"


def test_another_network_or_no_timm_tower_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another network than student"):
        read_small_clip(folder, "resnet18", PROMPTS)
    save_folder(tmp_path / "vit", MODEL)
    for refused in (require_tower, lambda path, arch: read_small_clip(path, arch, PROMPTS)):
        with pytest.raises(ConfigError, match="another network than student test_resnet"):
            refused(tmp_path / "vit", "test_resnet")
    tower = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
    save_folder(tmp_path / "resnet", {**MODEL, "vision_cfg": tower})
    for refused in (require_tower, lambda path, arch: read_small_clip(path, arch, PROMPTS)):
        with pytest.raises(ConfigError, match="cannot start a student"):
            refused(tmp_path / "resnet", "test_resnet")


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """timm's vision transformer of the shape of ``MODEL``, under a name of its own."""
    import timm
    from timm.models.vision_transformer import VisionTransformer

    create = timm.create_model

    def named(**changes: Any) -> str:
        shape = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}
        shape |= {"pre_norm": True, "norm_layer": torch.nn.LayerNorm, **changes}

        def made(arch: str, **options: Any) -> Any:
            options.pop("pretrained", None)
            own = arch == "tiny_clip_vit"
            return VisionTransformer(**shape, num_classes=0) if own else create(arch, **options)

        monkeypatch.setattr(timm, "create_model", made)
        monkeypatch.setattr("compress.distill.students.check_architecture", lambda arch: None)
        return "tiny_clip_vit"

    return named


def test_open_clips_own_vision_transformer_becomes_timms(
    twin: Callable[..., str], tmp_path: Path
) -> None:
    """Such towers were refused: only timm's own could start a student."""
    save_folder(tmp_path, MODEL)
    arch = twin()
    require_tower(tmp_path, arch)
    small = read_small_clip(tmp_path, arch, PROMPTS)
    settings = DistillSettings(student=arch, init="clip", init_path=tmp_path)
    build = StudentSpec(arch, 3, 24, 32, small.mean, small.std, "clip", True)
    student = initialize(settings, build, torch.zeros(3, 99), small).eval()
    clip = load_clip(TeacherSettings(name=str(tmp_path)))
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        features = F.normalize(clip.model.encode_image(images), dim=-1)
        expected = clip.logit_scale * features @ torch.from_numpy(clip.class_head(PROMPTS)).T
        assert torch.allclose(student(images), expected, atol=1e-4)


def test_a_tower_that_answers_otherwise_is_no_twin(
    twin: Callable[..., str], tmp_path: Path
) -> None:
    """The weights fit, the activation does not: the first pictures tell."""
    save_folder(tmp_path, MODEL)
    arch = twin(act_layer=torch.nn.ReLU)
    require_tower(tmp_path, arch)
    with pytest.raises(ConfigError, match="other answers to the same picture"):
        read_small_clip(tmp_path, arch, PROMPTS)


def test_a_file_of_another_network_is_refused_not_half_loaded(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"conv.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    settings = DistillSettings(
        student="test_resnet", init="timm", init_path=tmp_path / "other.safetensors"
    )
    with pytest.raises(ConfigError, match="not the weights of test_resnet"):
        initialize(settings, spec_for(settings, ImageSettings(size=32), 3, 8), torch.zeros(3, 8))
