"""The labeled images of a folder for a model that exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import fill, image_folder

from compress.data.labeled import labeled_images
from compress.engine.errors import DataError


def test_nothing_is_held_out_of_a_folder_without_splits(tmp_path: Path) -> None:
    fill(tmp_path / "images" / "rose", 5)
    images = labeled_images(tmp_path / "images", tmp_path)
    assert [entry.name for entry in images.classes] == ["rose"]
    assert len(images.images) == 5 and (images.split, images.others) == ("", {})


def test_the_test_split_is_taken_or_the_one_asked_for(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "images", train=4, test=3)
    fill(root / "val" / "rose", 2, seed=9000)
    images = labeled_images(root, tmp_path)
    assert (images.split, len(images.images)) == ("test", 6)
    assert images.others == {"train": 8, "val": 2}
    images = labeled_images(root, tmp_path, split="train")
    assert (images.split, len(images.images)) == ("train", 8)
    with pytest.raises(DataError, match="no such split"):
        labeled_images(root, tmp_path, split="x")


def test_a_test_split_needs_no_training_images(tmp_path: Path) -> None:
    fill(tmp_path / "images" / "test" / "rose", 3)
    fill(tmp_path / "images" / "test" / "oak", 1, seed=50)
    images = labeled_images(tmp_path / "images", tmp_path)
    assert (images.split, len(images.images)) == ("test", 4)


def test_the_list_of_classes_may_name_those_of_other_splits(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "images")
    fill(root / "train" / "oak", 2, seed=7000)
    (root / "classes.yaml").write_text("oak: oak tree\nrose: dog rose\n", encoding="utf-8")
    names = [entry.name for entry in labeled_images(root, tmp_path).classes]
    assert names == ["dog rose", "water_lily"]


def test_images_without_class_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no class folders · got 3 files beside each other"):
        labeled_images(fill(tmp_path / "loose", 3), tmp_path)
