"""Teachers of every kind of source: identified, loaded, or refused with a remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

pytest.importorskip("open_clip")
import torch
from safetensors.torch import load_file, save_file
from tiny_sources import MODEL, PREPROCESS, save_folder

from compress.engine.config import Settings, TeacherSettings
from compress.engine.errors import ConfigError, DownloadError
from compress.engine.hub import fingerprint_path
from compress.teacher.loading import SOURCES, fingerprint, load_teacher, published_arguments
from compress.teacher.sources import TeacherSource


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "clip"
    save_folder(path, MODEL)
    return path


def test_every_kind_of_source_has_a_row() -> None:
    assert set(SOURCES) == set(get_args(TeacherSource))


@pytest.mark.parametrize("weights", ["w.safetensors", "w.pt"])
def test_a_checkpoint_file_for_a_named_architecture(
    tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    original = save_folder(tmp_path / "t", MODEL, weights)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-clip", MODEL)
    teacher = load_teacher(TeacherSettings(name=f"tiny-clip/{tmp_path / 't' / weights}"))
    torch.testing.assert_close(teacher.model.visual.proj, original.visual.proj.detach())


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    save_folder(tmp_path / "t", MODEL)
    file = next((tmp_path / "t").glob("*.safetensors"))
    state = load_file(file)
    state["visual.proj"][0] = float("nan")
    save_file(state, file)
    with pytest.raises(
        ConfigError, match="teacher .*holds weights that are no numbers.*visual.proj"
    ):
        load_teacher(TeacherSettings(name=str(tmp_path / "t")))


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
