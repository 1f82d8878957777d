"""A bundle that still lies in its run knows the images that it was trained on."""

from __future__ import annotations

import json
import shutil
from html import unescape
from pathlib import Path

import pytest
from image_folders import fill

from compress import api
from compress.api import Run
from compress.assess import sentences
from compress.assess.page import render_html
from compress.assess.training import training_images
from compress.engine.runs import RunFolder
from compress.evaluate.metrics import wilson

CLASSES = ("rose", "iris", "daisy", "tulip")


@pytest.fixture
def run(bundle: Path, tmp_path: Path) -> Run:
    """A run of two shots a class whose data stage is finished, and whose bundle is another's."""
    for number, name in enumerate(CLASSES):
        fill(tmp_path / "garden" / "train" / name, 6, seed=100 * number)
        fill(tmp_path / "garden" / "test" / name, 3, seed=100 * number + 50)
    built = api.build(
        data=tmp_path / "garden", shots=2, offline=True, until="data", work_dir=tmp_path / "work"
    )
    shutil.copytree(bundle, built.bundle)
    return built


def test_shots_among_the_images_are_told_and_counted_apart(run: Run, tmp_path: Path) -> None:
    result = api.evaluate(run.bundle, tmp_path / "garden", split="train")
    assert api.evaluate(run.folder, tmp_path / "garden", split="train").new == result.new
    rows = json.loads((run.stages["data"].path / "shots.json").read_text(encoding="utf-8"))
    shots = {row["key"].removeprefix("train/") for row in rows}
    assert result.tested.trained_on is not None and len(shots) == 8
    assert {key.removeprefix("train/") for key in result.tested.trained_on} == shots
    wrong = {row.path for row in result.mistakes} - set(result.tested.trained_on)
    assert result.new == {
        "n": 16,
        "correct": 16 - len(wrong),
        "top1": (16 - len(wrong)) / 16,
        "ci95": wilson(16 - len(wrong), 16),
    }
    said = sentences.trained_on(result)
    assert said.startswith("8 images of these were shots of this bundle's build")
    assert "of the other 16" in said
    assert said in unescape(render_html(result))


def test_a_copy_of_a_shot_is_known_by_its_pixels(run: Run, tmp_path: Path) -> None:
    rows = json.loads((run.stages["data"].path / "shots.json").read_text(encoding="utf-8"))
    key = rows[0]["key"]
    (tmp_path / "one" / "rose").mkdir(parents=True)
    copy = tmp_path / "one" / "rose" / "renamed.jpg"
    source = tmp_path / "garden" / key
    shutil.copy(source if source.exists() else tmp_path / "garden" / "train" / key, copy)
    result = api.evaluate(run.bundle, tmp_path / "one")
    assert result.tested.trained_on == ("rose/renamed.jpg",)
    assert result.new == {"n": 0, "correct": 0, "top1": None, "ci95": None}
    assert "says nothing of its accuracy on new images" in sentences.trained_on(result)


def test_new_images_say_nothing(run: Run, tmp_path: Path) -> None:
    result = api.evaluate(run.bundle, tmp_path / "garden")
    assert (result.n, result.tested.trained_on, result.new) == (12, (), None)
    assert sentences.trained_on(result) == ""
    assert "seen in training" not in render_html(result)


def test_without_its_run_nothing_is_known(run: Run, bundle: Path, tmp_path: Path) -> None:
    assert training_images(bundle, "bicubic") is None
    moved = shutil.copytree(run.bundle, tmp_path / "moved" / "bundle")
    assert api.evaluate(moved, tmp_path / "garden").tested.trained_on is None
    stage = run.stages["data"].path
    (stage / "shots.npy").write_bytes(b"no array")
    assert training_images(RunFolder(run.folder).bundle, "bicubic") is None
