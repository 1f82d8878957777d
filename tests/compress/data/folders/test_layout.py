"""Splits under their usual names, nested classes, folders inside folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import fill, image_folder

from compress.data.folders.layout import read_class_folders, split_kind
from compress.data.sources import open_source
from compress.data.split import Source
from compress.engine.config import DataSettings
from compress.engine.errors import DataError


def source(path: Path, **changes: object) -> Source:
    return open_source(DataSettings(dataset=None, path=path, **{"shots": 1, **changes}))


def nested(root: Path, *folders: str, count: int = 3) -> Path:
    for number, folder in enumerate(folders):
        fill(root / folder, count, seed=100 * number)
    return root


def test_inner_folders_are_classes_where_outer_ones_are_groups(tmp_path: Path) -> None:
    nested(tmp_path, "animals/cat", "animals/dog", "plants/rose", "plants/trees/oak")
    read = source(tmp_path)
    assert read.names == ("cat", "dog", "oak", "rose") and read.classes[0].prompt == "cat"
    assert any(
        "4 innermost ones are the classes, animals, plants are groups" in note
        and "data.class_folders=top" in note
        for note in read.notes
    )
    assert source(tmp_path, class_folders="top").names == ("animals", "plants")


def test_groups_in_train_and_test_alike(tmp_path: Path) -> None:
    inner = ("animals/cat", "animals/dog", "plants/rose")
    nested(tmp_path, *(f"train/{name}" for name in inner), *(f"test/{name}" for name in inner[:2]))
    read = source(tmp_path)
    assert read.names == ("cat", "dog", "rose") and len(read.test) == 6


@pytest.mark.parametrize(
    "folders",
    [
        ("cat/2023", "cat/2024", "dog/2023"),
        ("cat/batch_1", "cat/batch_2", "dog/batch_3"),
        ("cat/2024-05-01", "cat/2024-05-02", "dog/2024-06-01"),
        ("cat/images", "dog/images"),
        ("cat/cat_a", "cat/cat_b", "dog/dog_a"),
        ("cat/garden", "cat/street", "dog/garden"),
        ("cat/garden", "dog/street"),
        ("cat", "cat/garden", "dog/street", "dog/park"),
    ],
)
def test_parts_of_a_class_are_no_classes(tmp_path: Path, folders: tuple[str, ...]) -> None:
    nested(tmp_path, *folders)
    assert source(tmp_path).names == ("cat", "dog")


def test_the_setting_decides_and_equal_inner_names_get_the_outer_one(tmp_path: Path) -> None:
    nested(tmp_path, "small/red", "small/blue", "large/red")
    assert source(tmp_path).names == ("large", "small")
    assert source(tmp_path, class_folders="leaf").names == ("blue", "large red", "small red")


def test_wordnet_ids_can_be_inner_classes(tmp_path: Path) -> None:
    nested(tmp_path, "birds/n01514668", "birds/n01532829", "fish/n01440764")
    assert [entry.prompt for entry in source(tmp_path).classes][0] == "tench"


def test_several_folders_around_the_folder(tmp_path: Path) -> None:
    image_folder(tmp_path / "download" / "data" / "flowers")
    read = source(tmp_path)
    assert len(read.train) == 8 and "holds only download/data/flowers/" in read.notes[0]


@pytest.mark.parametrize(
    "train, test",
    [
        ("train", "dev"),
        ("training_set", "test_set"),
        ("Training Set", "Test-Set"),
        ("train", "Validation"),
    ],
)
def test_more_names_of_splits(tmp_path: Path, train: str, test: str) -> None:
    image_folder(tmp_path)
    (tmp_path / "train").rename(tmp_path / train)
    (tmp_path / "test").rename(tmp_path / test)
    assert (split_kind(train), split_kind(test)) == ("train", "test")
    assert len(source(tmp_path).test) == 6


def test_a_class_named_eval_is_a_class(tmp_path: Path) -> None:
    nested(tmp_path, "eval", "rose", "oak")
    assert source(tmp_path).names == ("eval", "oak", "rose")


def test_nothing_but_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no class folders.*3 files.*or a labels\.csv"):
        source(fill(tmp_path, 3))


def test_splits_without_classes_are_no_classes(tmp_path: Path) -> None:
    for name in ("train", "test"):
        fill(tmp_path / name, 4, seed=len(name) * 100)
    with pytest.raises(
        DataError, match=r"test/ and train/ of .* have no class folders.*labels.csv"
    ):
        source(tmp_path)


def test_test_images_without_labels_are_left_out(tmp_path: Path) -> None:
    nested(tmp_path, "train/rose", "train/oak", "test", count=5)
    read = source(tmp_path)
    assert read.names == ("oak", "rose") and (len(read.train), len(read.test)) == (8, 2)
    assert read.facts is not None and read.facts.left_out == ("test/",)
    nested(tmp_path, "test/rose", "extra/pine")
    assert source(tmp_path).facts.left_out[0] == "extra/"  # type: ignore[union-attr]


def test_an_image_beside_inner_folders_is_of_the_outer_class_alone(tmp_path: Path) -> None:
    fill(tmp_path / "rose" / "red", 2)
    fill(tmp_path / "rose" / "white", 3, seed=50)
    fill(tmp_path / "rose", 1, seed=90)
    fill(tmp_path / "oak", 2, seed=70)
    found = read_class_folders(tmp_path, "leaf")
    counts = {name: len(paths) for name, paths in found.train.items()}
    assert counts == {"oak": 2, "red": 2, "rose": 1, "white": 3}


@pytest.mark.parametrize(
    "names", [("Test", "test"), ("test", "TEST"), ("Test-Set", "test set"), ("val", "val ")]
)
def test_splits_that_differ_in_case_and_spaces_are_one(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    nested(tmp_path, "train/oak", "train/rose", f"{names[0]}/oak", f"{names[1]}/rose")
    read = source(tmp_path)
    assert [key.split("/")[1] for key in read.test.keys] == ["oak"] * 3 + ["rose"] * 3
    assert any(note.endswith("are read as one split") for note in read.notes)
    assert read.facts is not None and len(read.facts.counts) == 2


@pytest.mark.parametrize(
    "name", ["test ", " Test", "test\u00a0", "test_ set", "te\u200bst", "TEST-"]
)
def test_spaces_around_the_name_of_a_split_do_not_matter(tmp_path: Path, name: str) -> None:
    nested(tmp_path, "train/oak", "train/rose", f"{name}/oak", f"{name}/rose")
    assert len(source(tmp_path).test) == 6


def test_two_training_folders_are_both_used_and_told(tmp_path: Path) -> None:
    nested(tmp_path, "train/oak", "train/rose", "training/oak", "test/oak", "test/rose")
    read = source(tmp_path)
    assert len(read.train) == 9 and "train/, training/ are both for training" in read.notes
