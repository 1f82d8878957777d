"""Copies over the splits: equal ones are refused, nearly equal ones are not used."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from image_folders import fill, grainy, image_folder, saved
from PIL import Image

import compress.data.copies.survey as survey
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
    said = (
        r"'rose' has too few images that are unlike.*got 1 of 6; .*: train/rose/000.jpg, .*, \.\.\."
    )
    with pytest.raises(DataError, match=said):
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


def test_equal_photos_are_equal_whether_drawn_or_not(tmp_path: Path) -> None:
    images = photos(tmp_path)
    rose = images / "train" / "rose" / "001.jpg"
    shutil.copy(rose, images / "train" / "water_lily" / "wrong.jpg")
    shutil.copy(images / "train" / "rose" / "002.jpg", images / "train" / "rose" / "again.jpg")
    dark = saved(Image.new("RGB", (64, 48)), "PNG")
    (images / "train" / "rose" / "dark.png").write_bytes(dark)
    (images / "train" / "water_lily" / "dark.png").write_bytes(dark)
    for shots in (1, "all"):
        data, facts = make(tmp_path, images, f"out{shots}", shots=shots)
        assert data.summary is not None
        kinds = {
            frozenset(one.key.split("/", 1)[1] for one in group.images): group.kind
            for group in data.summary.copies
        }
        assert kinds == {
            frozenset(("rose/001.jpg", "water_lily/wrong.jpg")): "equal",
            frozenset(("rose/002.jpg", "rose/again.jpg")): "equal",
            frozenset(("rose/dark.png", "water_lily/dark.png")): "equal",
        }
        assert facts["duplicates"] == {"shots_and_tests": 0, "two_classes": 2, "repeated": 1}
        assert any(
            "two classes, so that one of its labels is wrong (2 found)" in note
            for note in facts["notes"]
        )


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


def inspection(folder: Path, counts: dict[str, int]) -> Path:
    """Photos of a camera that does not move: a part that is good, or scratched somewhere."""
    rng = np.random.default_rng(0)
    still = np.asarray(grainy(3, (120, 90)), float)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image = still + rng.normal(0, 4, still.shape)
            if name.endswith("scratched"):
                x, y = rng.integers(10, 100), rng.integers(10, 80)
                image[y : y + 2, x : x + 8] = 250
            pixels = Image.fromarray(np.uint8(image.clip(0, 255)))
            (folder / name / f"{number}.jpg").write_bytes(saved(pixels, quality=90))
    return folder


@pytest.mark.parametrize("count", [3, 5, 20])
@pytest.mark.parametrize("shots", [2, "all"])
def test_photos_of_one_scene_are_used_and_told(tmp_path: Path, count: int, shots: object) -> None:
    images = inspection(tmp_path / "images", {"good": count, "scratched": count})
    data, facts = make(tmp_path, images, shots=shots)
    tested = 2 * max(1, round(0.2 * count))
    assert len(data.images("test")) == tested
    assert len(data.shots) == (4 if shots == 2 else 2 * count - tested)
    assert any(f"{2 * count} images are nearly the same, as photos of" in n for n in facts["notes"])
    assert data.summary is not None and data.summary.not_used == ()
    assert data.summary.copies == (), "no label is doubted, and none is a copy"
    assert not any("two classes" in text for text in data.summary.lines)


def test_equal_photos_of_one_scene_are_not_used_twice(tmp_path: Path) -> None:
    images = inspection(tmp_path / "images", {"good": 10, "scratched": 10})
    for file in sorted(images.rglob("*.jpg")):
        shutil.copy(file, file.with_name(f"copy of {file.name}"))
    data, facts = make(tmp_path, images, shots="all")
    tested = {key.replace("copy of ", "") for key in data.images("test").keys}
    assert len(tested) >= 4 and not tested & {
        key.replace("copy of ", "") for key in data.shots.keys
    }
    assert data.summary is not None and len(data.shots) + len(data.summary.not_used) == 32


def test_a_split_of_ones_own_of_one_scene_is_used_and_equal_photos_are_refused(
    tmp_path: Path,
) -> None:
    images = inspection(
        tmp_path / "images",
        {"train/good": 12, "train/scratched": 12, "test/good": 6, "test/scratched": 6},
    )
    data, facts = make(tmp_path, images, shots="all")
    assert (facts["train_images"], facts["test_images"]) == (24, 12)
    assert any("by a camera that does not move" in note for note in facts["notes"])
    shutil.copy(images / "train" / "good" / "3.jpg", images / "test" / "good" / "copy.jpg")
    with pytest.raises(DataError, match=r"train/good/3.jpg = test/good/copy.jpg.*duplicates"):
        make(tmp_path, images, "refused", shots=1)
    data, facts = make(tmp_path, images, "allowed", shots="all", duplicates="allow")
    assert (facts["train_images"], facts["test_images"]) == (24, 13)


def test_each_class_may_have_its_own_scene(tmp_path: Path) -> None:
    images = photos(tmp_path)
    still = grainy(99, (64, 48))
    for part, count in (("train", 8), ("test", 3)):
        fill(images / part / "gate", count)
        for number, file in enumerate(sorted((images / part / "gate").iterdir())):
            file.write_bytes(saved(still, quality=40 + 5 * number + (part == "test")))
    data, facts = make(tmp_path, images, shots="all")
    assert sum(key.startswith("train/gate/") for key in data.shots.keys) == 8
    assert any("11 images are nearly the same" in note for note in facts["notes"])


def test_some_frames_of_one_scene_among_many_photos_are_copies(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", train=12)
    for number, file in enumerate(sorted(images.rglob("*.jpg"))):
        file.write_bytes(saved(grainy(number, (64, 48)), quality=95))
    first = images / "train" / "rose" / "000.jpg"
    for number in range(5):
        saved_again(first, images / "train" / "rose" / f"x{number}.jpg", 50 + 5 * number)
    saved_again(first, images / "test" / "rose" / "again.jpg", 90)
    data, _ = make(tmp_path, images, shots="all")
    assert data.summary is not None and len(data.summary.not_used) == 6
    (copies,) = data.summary.copies
    assert len(copies.images) == 7


@pytest.mark.parametrize("shots", [1, "all"])
def test_equal_images_without_contrast_are_refused_too(tmp_path: Path, shots: object) -> None:
    images = photos(tmp_path)
    flat = Image.new("RGB", (64, 48), (120, 130, 125))
    for number in range(6):
        place = images / "test" / "rose" / "flat.png"
        copied = images / "train" / "rose" / f"{number:03d}.jpg"
        before = copied.read_bytes()
        copied.write_bytes(saved(flat, "PNG"))
        place.write_bytes(saved(flat, "BMP"))
        with pytest.raises(DataError, match=rf"{number:03d}.jpg = test/rose/flat.png"):
            make(tmp_path, images, f"out{number}", shots=shots)
        copied.write_bytes(before)
    place.write_bytes(saved(Image.new("RGB", (64, 48), (120, 130, 126)), "PNG"))
    (images / "train" / "rose" / "flat.png").write_bytes(saved(flat, "PNG"))
    make(tmp_path, images, "other", shots=shots)


def test_a_held_out_class_of_equal_images_without_contrast_is_used(tmp_path: Path) -> None:
    for name in ("dark", "oak"):
        fill(tmp_path / "images" / name, 10, seed=len(name) * 1000)
    for file in (tmp_path / "images" / "dark").iterdir():
        file.write_bytes(saved(Image.new("RGB", (64, 48)), "PNG"))
    data, _ = make(tmp_path, tmp_path / "images", shots="all")
    assert sum(key.startswith("dark/") for key in data.shots.keys) == 8


def test_equal_images_of_two_classes_have_a_wrong_label() -> None:
    same = str(survey.images_in_both(["train/ant/a.jpg = test/ant/b.jpg"]))
    other = str(
        survey.images_in_both(["train/ant/a.jpg = test/ant/b.jpg", "train/ant/c = test/bee/c"])
    )
    assert "remove one of each, or" in same
    assert "where their classes differ, one of them is wrong" in other
