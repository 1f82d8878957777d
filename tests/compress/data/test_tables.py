"""Labels from a table beside the images, as on Hugging Face and Kaggle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from image_folders import encoded, fill

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
    assert source(tmp_path).names == ("a", "b")


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
        (["file_name,label", "000.jpg,rose", "000.jpg,tulip"], "two labels.*000.jpg: rose, train"),
        (["file_name,label,split", "000.jpg,rose,trian"], "unknown split.*did you mean 'train'"),
        (["file_name,label", "x.jpg,rose", "y.jpg,tulip"], "name no image.*2 rows, e.g. x.jpg"),
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
    message = message.replace("rose, train", "rose, ")
    with pytest.raises(DataError, match=message):
        source(tmp_path / "in", shots=1)


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
