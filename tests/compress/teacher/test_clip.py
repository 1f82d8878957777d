"""Teachers: small open_clip models of the real classes, saved and loaded as published ones are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open_clip")
import torch
from tiny_sources import MODEL, PREPROCESS, SIGLIP, save_folder

from compress.data.geometry import fit_geometry
from compress.engine.config import TeacherSettings
from compress.teacher.loading import load_teacher


def pictures(count: int, edge: int = 32) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (count, edge, edge, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "clip"
    save_folder(path, MODEL)
    return path


@pytest.mark.parametrize("config", [MODEL, SIGLIP], ids=["clip", "siglip"])
def test_a_saved_model_comes_back_and_gives_unit_features(tmp_path: Path, config: dict) -> None:
    original = save_folder(tmp_path / "t", config)
    teacher = load_teacher(TeacherSettings(name=str(tmp_path / "t")))
    images = pictures(5)
    features = teacher.encode_images(images, batch=2)
    assert features.shape == (5, 24)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    mean, std = (torch.tensor(PREPROCESS[key])[:, None, None] for key in ("mean", "std"))
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std
    with torch.no_grad():
        expected = original.encode_image(pixels, normalize=True).numpy()
        raw = teacher.image_tower(pixels)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    np.testing.assert_allclose(
        torch.nn.functional.normalize(raw, dim=-1).numpy(), expected, atol=1e-5
    )
    assert teacher.logit_scale == pytest.approx(float(original.logit_scale.detach().exp()))
    assert teacher.embed_dim == 24
    assert 0 < teacher.image_params < teacher.params
    assert (teacher.spec.size, teacher.spec.interpolation) == (32, "bilinear")


def test_siglip_bias_does_not_change_class_probabilities(tmp_path: Path) -> None:
    """scale * cos + bias and scale * cos agree under a softmax over classes, so no sigmoid and no
    bias is needed.
    """
    original = save_folder(tmp_path / "t", SIGLIP)
    teacher = load_teacher(TeacherSettings(name=str(tmp_path / "t")))
    assert original.logit_bias is not None
    z = (
        teacher.logit_scale
        * teacher.encode_images(pictures(4))
        @ teacher.encode_texts(["a", "b", "c"]).T
    )
    ours = torch.softmax(torch.from_numpy(z), 1)
    theirs = torch.softmax(torch.from_numpy(z) + original.logit_bias.detach(), 1)
    torch.testing.assert_close(ours, theirs)


def test_class_head_is_the_normalized_mean_of_unit_prompt_embeddings(folder: Path) -> None:
    teacher = load_teacher(TeacherSettings(name=str(folder)))
    prompts = [["a red rose", "a photo of a red rose"], ["an oak"]]
    head = teacher.class_head(prompts)
    pair = teacher.encode_texts(prompts[0])
    expected = pair.mean(0) / np.linalg.norm(pair.mean(0))
    np.testing.assert_allclose(head[0], expected, atol=1e-6)
    np.testing.assert_allclose(head[1], teacher.encode_texts(["an oak"])[0], atol=1e-6)


def test_images_of_another_size_are_brought_to_the_teacher_s(folder: Path) -> None:
    teacher = load_teacher(TeacherSettings(name=str(folder)))
    large = pictures(2, 47)
    own = fit_geometry(large, teacher.spec)
    np.testing.assert_array_equal(teacher.encode_images(large), teacher.encode_images(own))
    with pytest.raises(ValueError, match="N, H, W, 3"):
        teacher.encode_images(large[..., :1])


def test_pixels_with_gradients_give_the_same_features_as_images(folder: Path) -> None:
    teacher = load_teacher(TeacherSettings(name=str(folder)))
    images = pictures(3)
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).requires_grad_()
    features = teacher.embed_pixels(pixels)
    np.testing.assert_allclose(features.detach(), teacher.encode_images(images), atol=1e-5)
    features[0, 0].backward()
    assert pixels.grad is not None
    assert pixels.grad[0].abs().sum() > 0
    assert pixels.grad[1:].abs().sum() == 0
    assert teacher.embed_pixels(torch.rand(2, 3, 50, 50)).shape == (2, 24), "any size is resized"
    mixed = teacher.embed_pixels(pixels, mixed=True)
    assert mixed.dtype == torch.float32
    assert 0 < (mixed - features).abs().max() < 0.05


def test_bf16_is_close_and_returns_float32(folder: Path) -> None:
    exact = load_teacher(TeacherSettings(name=str(folder))).encode_images(pictures(4))
    mixed = load_teacher(TeacherSettings(name=str(folder), precision="bf16")).encode_images(
        pictures(4)
    )
    assert mixed.dtype == np.float32
    assert (exact * mixed).sum(1).min() > 0.999
    assert not np.array_equal(exact, mixed)


def test_the_teacher_is_frozen_and_its_fingerprint_sees_one_changed_weight(folder: Path) -> None:
    teacher = load_teacher(TeacherSettings(name=str(folder)))
    assert not any(p.requires_grad for p in teacher.model.parameters())
    assert not teacher.model.training
    before = teacher.fingerprint()
    assert before == load_teacher(TeacherSettings(name=str(folder))).fingerprint()
    teacher.model.logit_scale.add_(1e-3)
    assert teacher.fingerprint() != before
