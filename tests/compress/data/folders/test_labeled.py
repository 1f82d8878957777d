"""The labeled images of a folder for a model that exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import fill, image_folder

from compress.data.folders.labeled import labeled_images
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


def test_a_split_is_found_whatever_its_case_and_spaces(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "images", train=2, test=3)
    (root / "test").rename(root / "Test ")
    images = labeled_images(root, tmp_path)
    assert (images.split, len(images.images), images.others) == ("Test ", 6, {"train": 4})
    assert labeled_images(root, tmp_path, split="test").images.keys == images.images.keys


@pytest.mark.parametrize("around", ["", "download/data"])
def test_a_single_folder_with_parts_can_be_the_class(tmp_path: Path, around: str) -> None:
    for number, part in enumerate(("2024-05", "2024-06")):
        fill(tmp_path / "images" / around / "rose" / part, 2, seed=50 * number)
    root = tmp_path / "images"
    assert len(labeled_images(root, tmp_path).classes) == 2
    images = labeled_images(root, tmp_path, above=True)
    assert [entry.name for entry in images.classes] == ["rose"] and len(images.images) == 4
    with pytest.raises(DataError, match="stepped into no folder"):
        labeled_images(image_folder(tmp_path / "more"), tmp_path, above=True)
