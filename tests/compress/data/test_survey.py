"""Copies over the splits: equal ones are refused, nearly equal ones are not used."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from image_folders import fill, grainy, image_folder, saved
from PIL import Image

import compress.data.survey as survey
from compress.data.artifact import DataArtifact
from compress.data.stage import run
from compress.engine.config import resolve
from compress.engine.errors import DataError
from compress.engine.stage import StageContext


def make(tmp_path: Path, images: Path, name: str = "out", **data: object):
    folder = tmp_path / name
    folder.mkdir()
    values = {"dataset": None, "path": images, "shots": 2, **data}
    settings = resolve({"image": {"size": 16, "crop_pct": 0.8}, "data": values})
    facts = run(StageContext(settings, {}, folder, 0))
    return DataArtifact(folder), facts


def saved_again(source: Path, target: Path, quality: int = 40) -> None:
    with Image.open(source) as image:
        target.write_bytes(saved(image, quality=quality))


def photos(tmp_path: Path) -> Path:
    images = image_folder(tmp_path / "images", train=6)
    for number, file in enumerate(sorted(images.rglob("*.jpg"))):
        file.write_bytes(saved(grainy(number, (64, 48)), quality=95))
    return images


def test_a_copy_that_no_seed_would_draw_is_refused_too(tmp_path: Path) -> None:
    images = photos(tmp_path)
    for number in range(6):
        name = f"{number:03d}.jpg"
        shutil.copy(images / "train" / "rose" / name, images / "test" / "rose" / f"x{name}")
        with pytest.raises(DataError, match=rf"train/rose/{name} = test/rose/x{name}.*duplicates"):
            make(tmp_path, images, f"out{number}")
        (images / "test" / "rose" / f"x{name}").unlink()


def test_a_copy_that_was_saved_again_is_not_used_for_training(tmp_path: Path) -> None:
    images = photos(tmp_path)
    saved_again(images / "train" / "rose" / "002.jpg", images / "test" / "rose" / "again.jpg")
    data, facts = make(tmp_path, images, shots="all")
    assert "train/rose/002.jpg" not in data.shots.keys and len(data.shots) == 11
    assert any("train/rose/002.jpg ~ test/rose/again.jpg" in note for note in facts["notes"])
    assert data.summary is not None and data.summary.not_used == ("train/rose/002.jpg",)
    (copies,) = data.summary.copies
    assert copies.kind == "near" and copies.in_train_and_test and not copies.in_two_classes
    allowed, facts = make(tmp_path, images, "allowed", shots="all", duplicates="allow")
    assert "train/rose/002.jpg" in allowed.shots.keys and len(allowed.shots) == 12
    assert allowed.summary is not None and len(allowed.summary.copies) == 1


def test_too_few_images_that_are_unlike_the_test_images(tmp_path: Path) -> None:
    images = photos(tmp_path)
    for number in range(5):
        name = f"{number:03d}.jpg"
        saved_again(images / "train" / "rose" / name, images / "test" / "rose" / f"x{name}")
    with pytest.raises(DataError, match=r"'rose' has too few images that are unlike.*got 1 of 6"):
        make(tmp_path, images)


def test_a_folder_that_is_split_here_keeps_copies_on_one_side(tmp_path: Path) -> None:
    for name in ("rose", "oak"):
        fill(tmp_path / "images" / name, 10, seed=len(name) * 1000)
        for number, file in enumerate(sorted((tmp_path / "images" / name).iterdir())):
            file.write_bytes(saved(grainy(len(name) * 100 + number)))
            shutil.copy(file, file.with_name(f"copy of {file.name}"))
    data, _ = make(tmp_path, tmp_path / "images", shots="all")
    tested = {key.replace("copy of ", "") for key in data.images("test").keys}
    assert tested and not tested & {key.replace("copy of ", "") for key in data.shots.keys}
    assert data.summary is not None and data.summary.measured == "held out"


def test_copies_in_two_classes_are_listed_with_their_paths(tmp_path: Path) -> None:
    images = photos(tmp_path)
    rose = images / "train" / "rose" / "001.jpg"
    saved_again(rose, images / "train" / "water_lily" / "wrong.jpg")
    data, _ = make(tmp_path, images)
    assert data.summary is not None
    (copies,) = data.summary.copies
    assert {image.key for image in copies.images} == {
        "train/rose/001.jpg",
        "train/water_lily/wrong.jpg",
    }
    assert copies.in_two_classes and "1 images in two classes" in data.summary.lines[-1]


def test_turned_and_other_formats_are_compared_upright(tmp_path: Path) -> None:
    images = photos(tmp_path)
    with Image.open(images / "train" / "rose" / "000.jpg") as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = image.transpose(Image.Transpose.ROTATE_90)
        with io.BytesIO() as stream:
            turned.save(stream, "JPEG", quality=90, exif=exif)
            (images / "test" / "rose" / "turned.jpg").write_bytes(stream.getvalue())
    data, _ = make(tmp_path, images, shots="all")
    assert "train/rose/000.jpg" not in data.shots.keys


def test_among_very_many_images_it_is_not_looked_and_said(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(survey, "MOST_IMAGES", 5)
    data, facts = make(tmp_path, photos(tmp_path))
    assert any(
        "nearly equal images are not looked for among 18 images" in n for n in facts["notes"]
    )
