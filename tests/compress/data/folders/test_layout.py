"""Splits under their usual names, nested classes, folders inside folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import fill, image_folder

from compress.data.folders.layout import read_class_folders
from compress.data.folders.split_names import split_kind
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


def test_the_same_folders_in_every_outer_one_are_two_readings(tmp_path: Path) -> None:
    nested(tmp_path, "site A/daisy", "site A/iris", "site B/Daisy", "site B/iris")
    expected = r"daisy, iris, Daisy in site A, site B alike.*=top: site A.*=merged: daisy"
    with pytest.raises(DataError, match=expected):
        source(tmp_path)
    assert source(tmp_path, class_folders="top").names == ("site A", "site B")
    read = source(tmp_path, class_folders="merged", shots="all")
    assert read.names == ("daisy", "iris") and len(read.train) + len(read.test) == 12


def test_splits_that_no_name_tells_are_not_guessed(tmp_path: Path) -> None:
    nested(tmp_path, "trian/rose", "trian/oak", "tets/rose", "tets/oak")
    with pytest.raises(DataError, match="if they are splits, name tets/ as test/, trian/ as train"):
        source(tmp_path)


@pytest.mark.parametrize(
    "folders, classes",
    [
        (("fish/goldfish", "fish/shark", "insect/ant"), ("ant", "goldfish", "shark")),
        (("blue/bluebell", "blue/iris", "red/rose"), ("bluebell", "iris", "rose")),
        (
            ("Tomato/Tomato_blight", "Tomato/Tomato_mold", "Apple/Apple_scab"),
            ("Apple_scab", "Tomato_blight", "Tomato_mold"),
        ),
    ],
)
def test_an_inner_name_may_hold_the_outer_one(
    tmp_path: Path, folders: tuple[str, ...], classes: tuple[str, ...]
) -> None:
    assert source(nested(tmp_path, *folders)).names == classes


@pytest.mark.parametrize(
    "folders, why",
    [
        (("flower", "flower/rose", "flower/iris", "tree/oak"), "flower/ holds images itself"),
        (("oak", "flower/rose", "flower/iris"), "oak/ holds images itself"),
        (("flower/rose", "flower/misc", "tree/oak"), "flower/misc is named as a part"),
    ],
)
def test_outer_classes_are_told_with_the_reason(
    tmp_path: Path, folders: tuple[str, ...], why: str
) -> None:
    read = source(nested(tmp_path, *folders))
    assert len(read.names) == 2
    assert f"the 2 outer ones are the classes, since {why}" in read.notes[0]
    assert "--set data.class_folders=leaf makes" in read.notes[0]


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
        ("train2017", "val2017"),
        ("Train_1", "test 1"),
    ],
)
def test_more_names_of_splits(tmp_path: Path, train: str, test: str) -> None:
    image_folder(tmp_path)
    (tmp_path / "train").rename(tmp_path / train)
    (tmp_path / "test").rename(tmp_path / test)
    assert (split_kind(train), split_kind(test)) == ("train", "test")
    assert len(source(tmp_path).test) == 6


def test_a_test_folder_beside_its_classes_is_a_split(tmp_path: Path) -> None:
    nested(tmp_path, "rose", "oak", "test/rose", "test/Oak", "test/pine")
    read = source(tmp_path)
    assert read.names == ("oak", "rose") and (len(read.train), len(read.test)) == (6, 6)
    assert "test/ holds classes that lie beside it: it is for testing" in read.notes
    assert read.facts is not None and (read.facts.unknown, read.facts.left_out) == ({"pine": 3}, ())


@pytest.mark.parametrize(
    "folders, got",
    [
        (("train/rose", "train/oak", "tets/rose"), r"tets/ beside it.*name tets/ as test/"),
        (("train/rose", "train/oak", "photos"), "photos/ beside it.*move the others elsewhere"),
        (("test/rose", "test/oak", "daisy", "iris"), "daisy/, iris/ beside it"),
    ],
)
def test_one_split_beside_other_folders_is_two_readings(
    tmp_path: Path, folders: tuple[str, ...], got: str
) -> None:
    nested(tmp_path, *folders)
    with pytest.raises(DataError, match=f"can be a split or a class.*{got}"):
        source(tmp_path)
    tops = {folder.split("/")[0] for folder in folders}
    assert set(source(tmp_path, class_folders="top").names) == tops


def test_a_folder_without_images_beside_a_split_is_left_out(tmp_path: Path) -> None:
    nested(tmp_path, "train/rose", "train/oak")
    (tmp_path / "docs").mkdir()
    read = source(tmp_path)
    assert read.names == ("oak", "rose")
    assert read.facts is not None and read.facts.left_out == ("docs/",)


def test_splits_inside_of_the_classes(tmp_path: Path) -> None:
    nested(tmp_path, "rose/train", "rose/test", "oak/train", "oak/val")
    read = source(tmp_path)
    assert read.names == ("oak", "rose") and len(read.train) == 6
    assert (
        read.test.keys[0] == "rose/test/000.jpg" and "the folders in every class" in read.notes[0]
    )


def test_a_class_named_train_may_have_parts(tmp_path: Path) -> None:
    nested(tmp_path, "train/2023", "train/2024", "bus")
    assert source(tmp_path).names == ("bus", "train")


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
    assert "no class folders in test/: 20% of every class is held out (fixed seed)" in read.notes
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


def test_folders_without_images_beside_one_around_all_classes_are_no_classes(
    tmp_path: Path,
) -> None:
    """As the archive of CUB-200-2011: images/<class>/, attributes/ and parts/."""
    nested(tmp_path, "images/001.Laysan_Albatross", "images/002.Mockingbird")
    for name in ("attributes", "parts"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text("1\n")
    read = source(tmp_path)
    assert read.names == ("001.Laysan_Albatross", "002.Mockingbird") and not read.empty
    assert "images are groups" in read.notes[0]
    assert (
        "left out, since they are no images of a class: folders attributes/, parts/" in read.notes
    )


def test_a_folder_without_images_beside_class_folders_is_an_empty_class(tmp_path: Path) -> None:
    nested(tmp_path, "rose", "iris")
    (tmp_path / "oak").mkdir()
    (tmp_path / "oak" / "readme.txt").write_text("soon\n")
    assert source(tmp_path).empty.keys() == {"oak"}


def test_a_class_folder_that_is_a_broken_link_is_told(tmp_path: Path) -> None:
    nested(tmp_path, "rose", "iris")
    (tmp_path / "oak").symlink_to(tmp_path / "elsewhere")
    read = source(tmp_path)
    assert "oak is a link that leads nowhere" in read.notes
    assert read.facts is not None and read.facts.left_out == ("oak",)
