"""Labels from a table beside the images, as on Hugging Face and Kaggle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from image_folders import encoded, fill

from compress.data.folders.labeled import labeled_images
from compress.data.sources import open_source
from compress.data.split import Source
from compress.engine.config import DataSettings
from compress.engine.errors import DataError

LABELS = ["rose", "rose", "rose", "rose", "rose", "tulip", "tulip", "tulip", "tulip", "tulip"]


def source(path: Path, shots: int = 2) -> Source:
    return open_source(DataSettings(dataset=None, path=path, shots=shots))


def write(
    root: Path, head: str, row: str, name: str = "labels.csv", encoding: str = "utf-8"
) -> Path:
    """A table with a line for each of the ten images 000.jpg ... 009.jpg."""
    lines = [
        row.format(
            file=f"{i:03d}.jpg",
            stem=f"{i:03d}",
            label=label,
            split="test" if i in (0, 5) else "train",
            number=i // 5,
        )
        for i, label in enumerate(LABELS)
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join([*([head] if head else []), *lines]) + "\n", encoding)
    return root


@pytest.mark.parametrize(
    "head, row",
    [
        ("file_name,label", "{file},{label}"),
        ("filename,class", "{file},{label}"),
        ("Image_Path;Class Name", "{file};{label}"),
        ("label\timage", "{label}\t{file}"),
        ("id,breed", "{stem},{label}"),
        ("idx,path,width,category", "7,./{file},20,{label}"),
        ("sep=;\nfile;label", "{file};{label}"),
        ("", "{file},{label}"),
        ('"file_name","label","text"', '"{file}","{label}","a, b"'),
        ("file_name,label", "/home/ann/photos/{file},{label}"),
        ("file_name,label", "C:\\\\photos\\\\{file},{label}"),
    ],
)
@pytest.mark.parametrize("where", ["", "images"])
def test_columns_separators_and_paths(tmp_path: Path, head: str, row: str, where: str) -> None:
    fill(tmp_path / where, 10)
    read = source(write(tmp_path, head, row))
    assert read.names == ("rose", "tulip")
    assert (len(read.train), len(read.test)) == (8, 2)
    assert any("labels are those of labels.csv" in note for note in read.notes)


@pytest.mark.parametrize("name", ["metadata.csv", "Labels.CSV", "labels.tsv", "annotations.csv"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_names_and_encodings_of_tables(tmp_path: Path, name: str, encoding: str) -> None:
    fill(tmp_path, 10)
    write(tmp_path, "file_name,label", "{file},{label} Bl\u00fcte", name, encoding)
    assert source(tmp_path).names == ("rose Bl\u00fcte", "tulip Bl\u00fcte")


@pytest.mark.parametrize("column", ["split", "Set", "subset", "partition"])
def test_a_column_of_splits(tmp_path: Path, column: str) -> None:
    fill(tmp_path / "all", 10)
    read = source(write(tmp_path, f"file_name,label,{column}", "all/{file},{label},{split}"))
    assert (len(read.train), len(read.test)) == (8, 2)
    assert read.test.keys == ("all/000.jpg", "all/005.jpg")


def test_tables_in_split_folders_and_lines_of_json(tmp_path: Path) -> None:
    for name in ("train", "validation"):
        fill(tmp_path / name, 10, seed=0 if name == "train" else 50)
    write(tmp_path / "train", "file_name,label", "{file},{label}", "metadata.csv")
    rows = [{"file_name": f"{i:03d}.jpg", "label": label} for i, label in enumerate(LABELS)]
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "validation" / "metadata.jsonl").write_text(text, encoding="utf-8")
    read = source(tmp_path)
    assert (len(read.train), len(read.test)) == (10, 10)
    assert read.test.keys[0] == "validation/000.jpg"


def test_a_table_is_part_of_the_identity_and_wins_over_folders(tmp_path: Path) -> None:
    fill(tmp_path / "a", 5)
    fill(tmp_path / "b", 5, seed=50)
    folders = source(tmp_path)
    rows = [
        f"{folder}/{i:03d}.jpg,{'odd' if i % 2 else 'even'}" for folder in "ab" for i in range(5)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["file_name,label", *rows]), encoding="utf-8")
    read = source(tmp_path)
    assert folders.names == ("a", "b") and read.names == ("even", "odd")
    assert np.bincount([*read.train.labels, *read.test.labels]).tolist() == [6, 4]
    before = read.identity()
    rows[0] = "a/000.jpg,odd"
    (tmp_path / "labels.csv").write_text("\n".join(["file_name,label", *rows]), encoding="utf-8")
    assert source(tmp_path).identity() != before


def test_captions_and_class_indexes_are_no_labels(tmp_path: Path) -> None:
    fill(tmp_path / "a", 5)
    fill(tmp_path / "b", 5, seed=50)
    (tmp_path / "metadata.csv").write_text("file_name,text\na/000.jpg,a photo\n", encoding="utf-8")
    (tmp_path / "labels.csv").write_text("label,description\n0,a\n", encoding="utf-8")
    for name in ("captions.txt", "results.csv", "a/labels.csv"):
        (tmp_path / name).write_text("file_name,label\n", encoding="utf-8")
    read = source(tmp_path)
    assert read.names == ("a", "b")
    assert [note for note in read.notes if "takes no part" in note] == [
        "labels.csv takes no part: no column of files (has: label, description)",
        "metadata.csv takes no part: no column of labels (has: file_name, text)",
    ]


def test_numbers_as_labels_stay_numbers(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    assert source(write(tmp_path, "image,label", "{file},{number}.0")).names == ("0", "1")


def test_rows_without_image_or_label_are_told(tmp_path: Path) -> None:
    fill(tmp_path, 12)
    write(tmp_path, "file_name,label", "{file},{label}")
    with (tmp_path / "labels.csv").open("a", encoding="utf-8") as file:
        file.write("gone.jpg,rose\n010.jpg,\n001.jpg,rose\n")
    read = source(tmp_path)
    assert len(read.train) + len(read.test) == 10
    assert any("1 rows of labels.csv name no image, e.g. gone.jpg" in note for note in read.notes)
    assert read.facts is not None and read.facts.missing[0]["key"] == "gone.jpg"
    assert set(read.facts.left_out) == {"010.jpg", "011.jpg"}


@pytest.mark.parametrize(
    "lines, message",
    [
        (
            ["file_name,label", "000.jpg,rose", "000.jpg,tulip"],
            "000.jpg: rose in line 2, tulip in line 3",
        ),
        (["file_name,label,split", "000.jpg,rose,trian"], "unknown split.*did you mean 'train'"),
        (["file_name,label", "x.jpg,rose", "y.jpg,tulip"], "name no image.*2 rows, e.g. x.jpg"),
        (["file_name,label", "000.jpg,rose", "x.jpg,tulip", "y.jpg,tulip"], "most rows.*2 of 3"),
        (["file_name,label", "../out/000.jpg,rose", "x.jpg,b"], "000.jpg: .* outside of in/"),
        (["file_name,label", "000.jpg,"], "name no image.*no row with a label"),
        (["file_name,label", "000.jpg,rose", "001.jpg,rose"], "a single class"),
        (["file_name,label", "../out/000.jpg,rose", "../../etc/passwd,b"], "name no image"),
        (["file_name,label", "000.jpg,rose", "001.jpg,Rose"], "same class name"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    fill(tmp_path / "in", 3)
    fill(tmp_path / "out", 1)
    (tmp_path / "in" / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        source(tmp_path / "in", shots=1)


MISTYPED = "labels.csv takes no part: no column of labels (has: file_name, lable)"


def test_a_table_without_labels_is_told_with_what_it_has(tmp_path: Path) -> None:
    for folder in ("batch_1", "batch_2"):
        fill(tmp_path / folder, 3, seed=100 * int(folder[-1]))
    put(tmp_path / "labels.csv", "file_name,lable", "batch_1/000.jpg,rose", "batch_1/001.jpg,oak")
    assert MISTYPED in source(tmp_path, shots=1).notes
    assert MISTYPED in labeled_images(tmp_path, tmp_path / "archives").notes


@pytest.mark.parametrize("folder", ["", "batch_1"])
def test_errors_about_classes_name_the_table_that_takes_no_part(
    tmp_path: Path, folder: str
) -> None:
    fill(tmp_path / folder, 3)
    put(tmp_path / "labels.csv", "file_name,lable", "000.jpg,rose", "001.jpg,oak")
    with pytest.raises(DataError, match="single class|no class folders") as told:
        source(tmp_path, shots=1)
    assert MISTYPED in str(told.value.got) and "file_name,label" in str(told.value)


def test_tables_after_the_one_that_counts_are_told(tmp_path: Path) -> None:
    put(tmp_path / "labels.csv", "file,label", *flat(tmp_path, "train"))
    for name in ("Labels.csv", "metadata.jsonl", "train/annotations.csv"):
        (tmp_path / name).touch()
    notes = source(tmp_path).notes
    assert [note for note in notes if "takes no part" in note] == [
        f"{name} takes no part: labels.csv comes first"
        for name in ("Labels.csv", "metadata.jsonl", "train/annotations.csv")
    ]


def test_an_image_with_a_second_row_without_label_is_used(tmp_path: Path) -> None:
    fill(tmp_path, 11)
    write(tmp_path, "file_name,label", "{file},{label}")
    with (tmp_path / "labels.csv").open("a", encoding="utf-8") as file:
        file.write("000.jpg\n010.jpg\n010.jpg,\n")
    read = source(tmp_path)
    assert len(read.train) + len(read.test) == 10
    assert read.facts is not None and read.facts.left_out == ("010.jpg",)
    note = "1 images have a row without a label in labels.csv, and one with a label, which counts"
    assert any(f"{note}: e.g. 000.jpg" in each for each in read.notes)


def test_a_name_that_stands_twice_is_found_by_its_folder_only(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        fill(tmp_path / folder, 3, seed=ord(folder))
    rows = [f"{folder}/{i:03d}.jpg,{folder}" for folder in "ab" for i in range(3)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]), encoding="utf-8")
    assert len(source(tmp_path).train) == 4
    rows = [f"{i:03d}.jpg,{label}" for i, label in enumerate("aab")]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]), encoding="utf-8")
    with pytest.raises(DataError, match="name no image"):
        source(tmp_path)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text("[1]\n", encoding="utf-8")
    (tmp_path / "a.jpg").write_bytes(encoded())
    with pytest.raises(DataError, match="cannot be read as a table"):
        source(tmp_path)


def flat(root: Path, *splits: str) -> list[str]:
    """Images of two classes beside each other in each split folder; rows of all."""
    rows = []
    for number, split in enumerate(splits):
        fill(root / split, 8, seed=500 * number)
        rows += [f"{split}/{i:03d}.jpg,{'rose' if i < 4 else 'oak'}" for i in range(8)]
    return rows


def class_folders(root: Path, count: int = 3, first: int = 0) -> None:
    """rose/ and oak/ with images numbered on from folder to folder."""
    for number, name in enumerate(("oak", "rose")):
        (root / name).mkdir(parents=True)
        for i in range(count):
            image = root / name / f"{first + number * count + i}.jpg"
            image.write_bytes(encoded(9000 + 1000 * first + number * count + i))


def put(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("table", ["train", "test"])
@pytest.mark.parametrize("at_root", [False, True])
def test_a_split_without_rows_is_read_by_its_class_folders(
    tmp_path: Path, table: str, at_root: bool
) -> None:
    """Nothing is held out of the training images where there is a test split."""
    rows = flat(tmp_path, table)
    other = "test" if table == "train" else "train"
    class_folders(tmp_path / other)
    if not at_root:
        rows = [row.removeprefix(f"{table}/") for row in rows]
    put((tmp_path if at_root else tmp_path / table) / "labels.csv", "file,label", *rows)
    read = source(tmp_path)
    assert read.names == ("oak", "rose") and read.facts is not None
    assert {split: sum(counts.values()) for split, counts in read.facts.counts.items()} == {
        table: 8,
        other: 6,
    }
    assert all(key.startswith("test/") for key in read.test.keys)
    assert len(read.test) == (6 if other == "test" else 8)
    assert not read.facts.left_out and not read.facts.held_out
    assert f"no table labels {other}/: labels there are the names of folders" in read.notes


def test_rows_without_splits_are_of_the_folders_train_and_test(tmp_path: Path) -> None:
    put(tmp_path / "labels.csv", "file,label", *flat(tmp_path, "train", "Test"))
    read = source(tmp_path)
    assert (len(read.train), len(read.test)) == (8, 8)
    assert all(key.startswith("Test/") for key in read.test.keys)
    assert "the table has no splits: they are the folders Test/, train/" in read.notes


def test_a_table_in_train_names_no_image_of_the_test_folder(tmp_path: Path) -> None:
    rows = [row.removeprefix("train/") for row in flat(tmp_path, "train")]
    class_folders(tmp_path / "test")
    put(tmp_path / "train" / "labels.csv", "file,label", *rows, "0.jpg,oak", "test/oak/1.jpg,oak")
    read = source(tmp_path)
    assert (len(read.train), len(read.test)) == (8, 6)
    assert any("2 rows of train/labels.csv name no image" in note for note in read.notes)


def test_unlabeled_test_images_are_left_out_and_told(tmp_path: Path) -> None:
    put(tmp_path / "labels.csv", "file,label", *flat(tmp_path, "train"))
    fill(tmp_path / "test" / "images", 3, seed=7000)
    read = source(tmp_path)
    assert (len(read.train), len(read.test)) == (6, 2)
    assert any("test/ is left out: its folders (images) are no labels" in n for n in read.notes)


def test_classes_yaml_ties_numbers_to_the_folders_of_another_split(tmp_path: Path) -> None:
    rows = flat(tmp_path, "train")
    rows = [row.replace("rose", "1").replace(",oak", ",0") for row in rows]
    class_folders(tmp_path / "test")
    put(tmp_path / "labels.csv", "file,label", *rows)
    put(tmp_path / "classes.yaml", '"0": oak', '"1": rose')
    read = source(tmp_path)
    assert read.names == ("oak", "rose") and (len(read.train), len(read.test)) == (8, 6)


def test_splits_of_rows_that_differ_in_case_are_one(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    splits = ["train", "Train ", "test", "Test", ""]
    rows = [f"{i:03d}.jpg,{'ab'[i % 2]},{splits[i // 2]}" for i in range(10)]
    put(tmp_path / "labels.csv", "file,label,split", *rows, rows[4].replace("test", "TEST"))
    read = source(tmp_path)
    assert (len(read.train), len(read.test)) == (6, 4)
    assert read.facts is not None and set(read.facts.counts) == {"train", "test"}
    assert "test/, Test/ are read as one split" in read.notes
    assert "2 images are in no split: they are for training" in read.notes


LISTS = {
    "numbers": ("id,label", "0,oak", "1,rose"),
    "numbers and splits": ("id,label,split", "0,oak,", "1,rose,"),
    "names": ("name,label", "oak,0", "rose,1"),
    "other numbers": ("id,label", "100,oak", "200,rose"),
    "sorts": ("id,label", "0,oak", "1,rose", "2,rose"),
}


@pytest.mark.parametrize("lines", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("inside", ["", "images", "train", "train and test"])
def test_a_list_of_classes_beside_class_folders_takes_no_part(
    tmp_path: Path, lines: tuple[str, ...], inside: str
) -> None:
    splits = inside.split(" and ")
    for split in splits:
        class_folders(tmp_path / split, 10)
    put(tmp_path / "labels.csv", *lines)
    read = source(tmp_path)
    assert read.names == ("oak", "rose") and read.facts is not None and not read.facts.left_out
    assert len(read.train) + len(read.test) == 20 * len(splits)
    assert any(note.startswith("labels.csv takes no part: its ") for note in read.notes)
    before = read.identity()
    put(tmp_path / "labels.csv", *lines, "")
    assert source(tmp_path).identity() == before


def test_the_next_table_is_read_after_a_list_of_classes(tmp_path: Path) -> None:
    class_folders(tmp_path, 10)
    put(tmp_path / "labels.csv", *LISTS["numbers"])
    rows = [f"{i // 10 and 'rose' or 'oak'}/{i}.jpg,{'ab'[i % 2]}" for i in range(20)]
    put(tmp_path / "metadata.csv", "file_name,label", *rows)
    assert source(tmp_path).names == ("a", "b")


def test_bare_names_that_label_some_images_stay_labels(tmp_path: Path) -> None:
    class_folders(tmp_path, 10)
    put(tmp_path / "labels.csv", "id,label", *(f"{i},{'ab'[i % 2]}" for i in range(6)))
    read = source(tmp_path)
    assert read.names == ("a", "b") and len(read.train) + len(read.test) == 6


def test_numbers_of_class_folders_are_named_after_these(tmp_path: Path) -> None:
    class_folders(tmp_path, 5)
    rows = [f"{'rose' if i > 4 else 'oak'}/{i}.jpg,{int(i > 4)}" for i in range(10)]
    put(tmp_path / "labels.csv", "file,label", *rows)
    read = source(tmp_path)
    assert read.names == ("oak", "rose")
    assert "labels.csv numbers the folders: labels are the names of these" in read.notes
    put(tmp_path / "labels.csv", "file,label", *rows[:-1], rows[-1].replace(",1", ",0"))
    assert source(tmp_path).names == ("0", "1"), "then they say something else"


def test_notes_of_columns_reach_the_source(tmp_path: Path) -> None:
    fill(tmp_path, 10)
    rows = [f"{i:03d}.jpg,{i % 2},{('cat', 'dog')[i % 2]},{i % 5}" for i in range(10)]
    put(tmp_path / "labels.csv", "file,label,class_name,fold", *rows)
    assert (read := source(tmp_path)).names == ("cat", "dog")
    assert any("not the numbers of 'label'" in note for note in read.notes)
    assert any("'fold' of labels.csv names no split" in note for note in read.notes)


@pytest.mark.parametrize("column, yes, no", [("is_valid", "True", "False"), ("Is Test", "1", "0")])
def test_yes_says_the_split(tmp_path: Path, column: str, yes: str, no: str) -> None:
    fill(tmp_path, 10)
    rows = [f"{i:03d}.jpg,{label},{no if i % 5 else yes}" for i, label in enumerate(LABELS)]
    put(tmp_path / "labels.csv", f"file_name,label,{column}", *rows)
    read = source(tmp_path)
    assert list(read.test.keys) == ["000.jpg", "005.jpg"] and len(read.train) == 8
    assert any(f"{column!r} of labels.csv says what is of the split" in note for note in read.notes)
