"""The shipped weights: small, loadable the ordinary way, and as good as metrics.json says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from torch.nn import functional

from benchmarks.petals_training.captions import class_prompts, every_word, tokenizer_of
from benchmarks.petals_training.evaluate import top1
from compress.engine.errors import DataError
from compress.petals.nets import EMBED_DIM, PetalCNN, pixels
from compress.petals.weights import (
    TEACHER,
    WEIGHTS,
    Tokenizer,
    load_student_clip,
    load_student_generic,
    load_teacher,
    read_json,
)
from compress.petals.world import SPECIES, render_species


@pytest.fixture(scope="module")
def teacher() -> tuple[open_clip.CLIP, Tokenizer]:
    return load_teacher()


@pytest.fixture(scope="module")
def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight test photos of each species, and their labels."""
    labels = np.repeat(np.arange(len(SPECIES)), 8)
    images = render_species(labels.tolist(), "test", np.tile(np.arange(8), len(SPECIES)).tolist())
    return pixels(images), torch.from_numpy(labels)


def test_the_weights_are_small_and_hold_no_pickles() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 15_000_000
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jsonl"}


def test_the_log_of_the_run_is_kept() -> None:
    lines = [json.loads(line) for line in (WEIGHTS / "train_log.jsonl").read_text().splitlines()]
    done = {line["phase"] for line in lines if line.get("done")}
    assert done >= {
        "render",
        "teacher",
        "student_clip",
        "student_generic",
        "prior",
        "generator",
        "vq",
        "evaluate",
    }


def test_teacher_beats_student_on_the_same_prompts(teacher, pictures) -> None:
    model, tokenize = teacher
    images, labels = pictures
    state = load_student_clip()
    trunk = PetalCNN().eval()
    trunk.load_state_dict(
        {name[6:]: tensor for name, tensor in state.items() if name.startswith("trunk.")}
    )
    with torch.no_grad():
        texts = functional.normalize(
            model.encode_text(tokenize(class_prompts(complete=True))), dim=-1
        )
        by_teacher = top1(model.encode_image(images) @ texts.T, labels)
        by_student = top1(trunk(images) @ state["proj.weight"].T @ texts.T, labels)
    metrics = read_json(WEIGHTS / "metrics.json")
    assert by_teacher > by_student
    assert by_teacher == pytest.approx(metrics["teacher"]["zero_shot_captions"], abs=0.06)
    assert by_student == pytest.approx(metrics["student"]["zero_shot_captions"], abs=0.06)


def test_open_clip_loads_the_teacher_as_an_ordinary_local_folder(teacher, pictures) -> None:
    model = open_clip.create_model(f"local-dir:{WEIGHTS / TEACHER}").eval()
    with torch.no_grad():
        assert torch.allclose(
            model.encode_image(pictures[0][:4]), teacher[0].encode_image(pictures[0][:4]), atol=1e-5
        )
    assert (
        model.visual.preprocess_cfg["mean"] == [0.5, 0.5, 0.5]
        or model.visual.preprocess_cfg["mean"] == (0.5,) * 3
    )


def test_students_load_into_the_registered_trunk() -> None:
    trunk = timm.create_model("petal_cnn", num_classes=0)
    for state in (load_student_clip(), load_student_generic()):
        trunk.load_state_dict(
            {name[6:]: tensor for name, tensor in state.items() if name.startswith("trunk.")}
        )
    state = load_student_clip()
    assert (
        state["proj.weight"].shape == (EMBED_DIM, trunk.num_features)
        and state["logit_scale"].shape == ()
    )
    assert trunk(torch.zeros(2, 3, 48, 48)).shape == (2, trunk.num_features)
    trunk.reset_classifier(5)
    assert trunk(torch.zeros(2, 3, 32, 32)).shape == (2, 5)


def test_the_tokenizer_knows_every_caption_word_and_cuts_none_of_the_names(teacher) -> None:
    tokenize = teacher[1]
    assert (tokenize(list(every_word()))[:, 1] != len(tokenize.ids) - 1).all(), "start, word, end"
    prompts = class_prompts(complete=True)
    assert all((row == len(tokenize.ids) - 1).any() for row in tokenize(prompts))
    assert len({tuple(row) for row in tokenize(prompts).tolist()}) == len(prompts)
    assert tokenize.ids == tokenizer_of(every_word()).ids


def test_unknown_words_are_left_out_as_if_never_written(teacher) -> None:
    tokenize = teacher[1]
    known = tokenize(["A photo of a red flower"])
    assert torch.equal(tokenize("a photo of a zebra red flower"), known)
    assert torch.equal(tokenize("a photo of a Zebra striped RED_flower"), known)
    assert tokenize("zebra").tolist()[0][:3] == [len(tokenize.ids) - 2, len(tokenize.ids) - 1, 0]


def test_long_prompts_are_cut_and_still_end(teacher) -> None:
    tokens = teacher[1]("red " * 100)
    assert tokens.shape == (1, 24) and tokens[0, -1] == len(teacher[1].ids) - 1


def test_a_missing_file_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="reinstall the package"):
        load_teacher(tmp_path)
