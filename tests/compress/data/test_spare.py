"""Labeled images that are neither shots nor tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from image_folders import image_folder, photo, saved

from compress.data.artifact import DataArtifact
from compress.data.spare import SpareImages, spare_images
from compress.data.stage import fingerprint, run
from compress.engine.config import Settings, resolve
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from runtime.preprocess import Geometry, decode, geometry

SEEN = Geometry(16, 20, "bicubic")


def context(tmp_path: Path, chosen: Settings, seed: int = 0) -> StageContext:
    """What a stage after "data" gets."""
    folder = tmp_path / "data"
    folder.mkdir()
    external = fingerprint(chosen)
    made = StageContext(chosen, {}, folder, seed, external=external)
    facts = run(made)
    data = Artifact("data", folder, facts, "content", identity={"external": external})
    return StageContext(chosen, {"data": data}, tmp_path, seed)


def settings(path: Path, **data: object) -> Settings:
    return resolve(
        {
            "image": {"size": 16, "crop_pct": 0.8},
            "data": {"dataset": None, "path": path, "shots": 2, **data},
        }
    )


def looks(images: SpareImages | np.ndarray) -> set[bytes]:
    pixels = images.pixels if isinstance(images, SpareImages) else images
    return {np.asarray(image).tobytes() for image in pixels}


def test_they_are_the_training_images_that_are_no_shots(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "images", train=7)
    ctx = context(tmp_path, settings(root))
    spare = spare_images(ctx, 100)
    assert spare.labels.tolist().count(0) == spare.labels.tolist().count(1) == 5 and not spare.why
    assert spare.pixels.shape == (10, 16, 16, 3) and spare.pixels.dtype == np.uint8
    data = DataArtifact(tmp_path / "data")
    used = {key.rpartition("/")[2] for key in data.shots.keys if "rose" in key}
    wanted = [
        geometry(decode(file), SEEN)
        for file in sorted((root / "train" / "rose").iterdir())
        if file.name not in used
    ]
    roses = SpareImages(spare.pixels[spare.labels == 0], spare.labels)
    assert looks(roses) == looks(np.stack(wanted))
    assert not looks(spare) & looks(data.images("test").pixels)
    again = spare_images(ctx, 100)
    np.testing.assert_array_equal(again.pixels, spare.pixels)


def test_a_limit_takes_as_many_of_each_class(tmp_path: Path) -> None:
    ctx = context(tmp_path, settings(image_folder(tmp_path / "images", train=9)))
    assert sorted(spare_images(ctx, 6).labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert len(spare_images(ctx, 5)) == 5


def test_an_image_that_is_a_test_image_too_is_none(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "images", train=6)
    shutil.copyfile(root / "test" / "rose" / "000.jpg", root / "train" / "rose" / "zzz.jpg")
    ctx = context(tmp_path, settings(root, duplicates="allow"))
    tests = DataArtifact(tmp_path / "data").images("test").pixels
    assert not looks(spare_images(ctx, 100)) & looks(tests)


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "images", train=6)
    (root / "train" / "rose" / "broken.jpg").write_bytes(b"no image")
    ctx = context(tmp_path, settings(root))
    assert len(spare_images(ctx, 100)) == 8


@pytest.mark.parametrize(
    ("data", "most", "why"),
    [
        ({"shots": "all"}, 100, "every labeled image is a shot"),
        ({"shots": 2}, 0, "spare_images is 0"),
    ],
)
def test_why_there_are_none(tmp_path: Path, data: dict[str, object], most: int, why: str) -> None:
    ctx = context(tmp_path, settings(image_folder(tmp_path / "images"), **data))
    none = spare_images(ctx, most)
    assert len(none) == 0 and none.pixels.shape == (0, 16, 16, 3) and why in none.why


def test_a_source_that_is_gone_or_has_changed(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "images", train=6)
    ctx = context(tmp_path, settings(root))
    (root / "train" / "tulip").mkdir()
    (root / "train" / "tulip" / "a.png").write_bytes(saved(photo(9), "PNG"))
    assert "other classes" in spare_images(ctx, 10).why
    shutil.rmtree(root)
    assert "the source of the images is gone" in spare_images(ctx, 10).why
