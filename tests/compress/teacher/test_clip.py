"""Teachers: small open_clip models of the real classes, saved and loaded the way published ones
are.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open_clip")
import torch
from tiny_sources import MODEL, PREPROCESS, SIGLIP, save_folder

from compress.engine.config import Settings, TeacherSettings
from compress.engine.errors import ConfigError, DownloadError
from compress.engine.hub import fingerprint_path, hub, snapshot_revision
from compress.teacher.clip import (
    Checkpoint,
    Embedded,
    Folder,
    HubRepository,
    Tag,
    fingerprint,
    load_teacher,
    locate,
    published_arguments,
)


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


def test_images_of_another_size_are_refused(folder: Path) -> None:
    teacher = load_teacher(TeacherSettings(name=str(folder)))
    with pytest.raises(ValueError, match="32, 32, 3"):
        teacher.encode_images(pictures(2, 31))


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


def test_the_counter_tells_how_many_images_the_teacher_was_asked_about(folder: Path) -> None:
    teacher = load_teacher(TeacherSettings(name=str(folder)))
    assert teacher.images_encoded == 0
    teacher.encode_images(pictures(5), batch=2)
    teacher.encode_images(pictures(1))
    teacher.encode_texts(["a rose"])
    assert teacher.images_encoded == 6


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


def test_what_a_name_means(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"x")
    assert locate("petals") == Embedded()
    assert locate("ViT-L-14/openai") == Tag("ViT-L-14", "openai")
    assert locate("hf-hub:org/name") == HubRepository("hf-hub:org/name")
    assert locate(str(folder)) == Folder(folder)
    assert locate(f"ViT-B-32/{file}") == Checkpoint("ViT-B-32", file)
    with pytest.raises(ConfigError, match="needs its architecture"):
        locate(str(file))
    with pytest.raises(ConfigError, match="does not exist"):
        locate(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("weights", ["w.safetensors", "w.pt"])
def test_a_checkpoint_file_for_a_named_architecture(
    tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    original = save_folder(tmp_path / "t", MODEL, weights)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-clip", MODEL)
    teacher = load_teacher(TeacherSettings(name=f"tiny-clip/{tmp_path / 't' / weights}"))
    torch.testing.assert_close(teacher.model.visual.proj, original.visual.proj.detach())


def test_a_pickle_that_runs_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Evil()}, tmp_path / "w.pt")
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-clip", MODEL)
    with pytest.raises(ConfigError, match="cannot be used"):
        load_teacher(TeacherSettings(name=f"tiny-clip/{tmp_path / 'w.pt'}"))
    assert not (tmp_path / "ran").exists()


def test_a_folder_with_only_a_pickle_or_without_weights_is_refused(tmp_path: Path) -> None:
    save_folder(tmp_path / "t", MODEL, "open_clip_pytorch_model.bin")
    with pytest.raises(ConfigError, match="not in open_clip's format"):
        load_teacher(TeacherSettings(name=str(tmp_path / "t")))


def test_weights_of_another_shape_are_an_error_not_a_random_teacher(tmp_path: Path) -> None:
    save_folder(tmp_path / "t", MODEL)
    wider = {"model_cfg": {**MODEL, "embed_dim": 40}, "preprocess_cfg": PREPROCESS}
    (tmp_path / "t" / "open_clip_config.json").write_text(json.dumps(wider))
    with pytest.raises(ConfigError, match="cannot be used"):
        load_teacher(TeacherSettings(name=str(tmp_path / "t")))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-L14/openai", "did you mean 'ViT-L-14'"),
        ("petal", "did you mean 'petals'"),
        ("ViT-L-14/opneai", "did you mean 'openai'"),
        ("ViT-L-14", "no such tag"),
    ],
)
def test_unknown_names_get_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_teacher(TeacherSettings(name=name))


def test_offline_is_one_error_that_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError) as caught:
        load_teacher(TeacherSettings(name="ViT-L-14/openai"), offline=True)
    text = str(caught.value)
    assert "--teacher ViT-L-14/PATH" in text
    assert "compress build --dataset petals" in text
    assert "\n" not in text


def test_the_hub_is_asked_once_and_its_silence_means_offline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens on the discard port
    with hub() as online:
        assert not online
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE


def test_openai_weights_get_their_activation() -> None:
    """open_clip 3 only warns when a tag was trained with QuickGELU and the model's config says
    GELU.
    """
    from open_clip.pretrained import get_pretrained_cfg

    arguments = published_arguments(get_pretrained_cfg("ViT-L-14", "openai"))
    assert arguments["force_quick_gelu"] is True
    assert arguments["force_preprocess_cfg"]["mean"][0] == pytest.approx(0.48145466)
    assert (
        published_arguments(get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k"))["force_quick_gelu"]
        is False
    )


def test_a_local_teacher_is_identified_by_its_content(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    here, there = (
        fingerprint(Settings(teacher=TeacherSettings(name=str(p)))) for p in (folder, copy)
    )
    assert here == there
    (copy / "open_clip_config.json").write_text("{}")
    assert fingerprint_path(copy) != here["teacher"]
    assert fingerprint(Settings(teacher=TeacherSettings(name="ViT-L-14/openai"))) == {
        "teacher": "ViT-L-14/openai"
    }


def test_the_revision_of_a_cached_file_is_its_commit() -> None:
    assert snapshot_revision(Path("/c/models--a--b/snapshots/abc123/w.safetensors")) == "abc123"
    assert snapshot_revision(Path("/somewhere/w.safetensors")) is None
