"""CLIPs in transformers' format: the same answers as transformers gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError
from compress.teacher import transformers_clip
from compress.teacher.loading import embed_dim, load_clip, load_teacher
from compress.teacher.sources import HubRepository, TransformersFolder, locate

TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
TEXT |= {"num_hidden_layers": 2, "max_position_embeddings": 20, "hidden_act": "gelu"}
TEXT |= {"bos_token_id": 49406, "eos_token_id": 49407}
VISION = {"hidden_size": 48, "intermediate_size": 96, "num_attention_heads": 3}
VISION |= {"num_hidden_layers": 2, "image_size": 32, "patch_size": 8, "hidden_act": "gelu"}


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Any]:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24)
    model = transformers.CLIPModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    model.save_pretrained(tmp_path)
    return tmp_path, model


def test_its_answers_are_those_of_transformers(saved: tuple[Path, Any]) -> None:
    folder, model = saved
    assert locate(str(folder)) == TransformersFolder(folder)
    settings = TeacherSettings(name=str(folder))
    teacher = load_clip(settings)
    pixels = torch.randn(3, 3, 32, 32)
    tokens = teacher.tokenize(["a photo of a cat", "a rose"])
    with torch.no_grad():
        expected = model(input_ids=tokens, pixel_values=pixels)
        images = teacher.model.encode_image(pixels, normalize=True)
        texts = teacher.model.encode_text(tokens, normalize=True)
    assert torch.allclose(images, expected.image_embeds, atol=1e-6)
    assert torch.allclose(texts, expected.text_embeds, atol=1e-6)
    assert teacher.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()))
    assert embed_dim(settings) == teacher.embed_dim == 24 and teacher.spec.size == 32


def test_the_folders_own_normalization_wins(saved: tuple[Path, Any]) -> None:
    folder, _ = saved
    about = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps(about))
    spec = load_teacher(TeacherSettings(name=str(folder))).spec
    assert spec.mean == (0.5, 0.5, 0.5) and spec.std == (0.25, 0.25, 0.25)


def test_a_repository_without_open_clips_format_is_read_like_its_folder(
    saved: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers_clip, "fetched", lambda name, online: saved[0])
    name = "hf-hub:someone/tiny-clip"
    assert locate(name) == HubRepository("someone/tiny-clip")
    teacher = load_clip(TeacherSettings(name=name), offline=True)
    assert teacher.embed_dim == 24 and teacher.revision == name


def test_what_open_clip_has_not_is_refused(saved: tuple[Path, Any]) -> None:
    folder, _ = saved
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["text_config"]["vocab_size"] = 1000
    file.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="open_clip has not .* 1000 words"):
        load_teacher(TeacherSettings(name=str(folder)))
    config["text_config"]["vocab_size"] = 49408
    config["vision_config"]["num_hidden_layers"] = 3
    file.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="does not fit its config.json"):
        load_teacher(TeacherSettings(name=str(folder)))
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="no weights"):
        transformers_clip.weights_of(folder)
