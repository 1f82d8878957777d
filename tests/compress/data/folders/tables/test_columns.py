"""Which columns say the file, the label and the split: by name, and by what is in them."""

from __future__ import annotations

import pytest

from compress.data.folders.tables.columns import Columns, find_columns, missing_columns

NAMES = ("cat", "dog")


def table(head: str, row: str) -> list[list[str]]:
    rows = [
        row.format(i=i, n=i % 2, name=NAMES[i % 2], odd="xyz"[i % 3], split="tv"[i % 2])
        for i in range(6)
    ]
    return [each.replace(" ", "").split(",") for each in ([head] if head else []) + rows]


def columns(head: str, row: str) -> Columns:
    found = find_columns(table(head, row), "labels.csv")
    assert found is not None
    return found


@pytest.mark.parametrize(
    "head, row, label",
    [
        ("file,label,class_name", "{i}.jpg, {n}, {name}", 2),
        ("file,class_name,label", "{i}.jpg, {name}, {n}", 1),
        ("file,label,species", "{i}.jpg, {n}.0, {name}", 2),
        ("file,label,breed", "{i}.jpg, {n}, {name}", 2),
        ("file,label,label_text", "{i}.jpg, {n}, {name}", 2),
        ("file,class_id,name", "{i}.jpg, {n}, {name}", 2),
        ("file,label,class_name", "{i}.jpg, {n}, {odd}", 2),  # its name says what it is
        ("", "{i}.jpg, {n}, {name}", 2),
    ],
)
def test_names_of_classes_come_before_their_numbers(head: str, row: str, label: int) -> None:
    found = columns(head, row)
    assert (found.file, found.label, found.split) == (0, label, -1)
    chosen = head.split(",")[label] if head else "column 3"
    (note,) = found.notes
    assert f"labels are the names of column {chosen!r} of labels.csv" in note


@pytest.mark.parametrize(
    "head, row, note",
    [
        ("file,label,tag", "{i}.jpg, {n}, {odd}", "tag groups the images otherwise"),
        ("file,label,class_id", "{i}.jpg, {n}, {n}", ""),
        ("file,label,name", "{i}.jpg, {n}, p{i}", ""),
    ],
)
def test_numbers_stay_where_no_column_names_them(head: str, row: str, note: str) -> None:
    found = columns(head, row)
    assert found.label == 1 and bool(found.notes) is bool(note) and note in "".join(found.notes)


def test_an_empty_column_of_labels_is_passed_over() -> None:
    assert columns("file,label,class", "{i}.jpg,,{name}").label == 2
    assert columns("file,label,class", "{i}.jpg,,").label == 1


@pytest.mark.parametrize(
    "head, row, file",
    [
        ("image,label,path", "{i}, {name}, /x/{i}.jpg", 2),
        ("id,label,image", "{i}, {name}, {i}.jpg", 2),
        ("image,id,label", ",{i},{name}", 1),
        ("image,label,id", "{i}, {name}, {i}", 0),
        ("file_name,path,label", "{i}.jpg, /x/{i}.jpg, {name}", 0),
    ],
)
def test_names_of_images_come_before_numbers(head: str, row: str, file: int) -> None:
    assert columns(head, row).file == file


@pytest.mark.parametrize("column", ["fold", "Set", "dataset", "subset", "phase"])
@pytest.mark.parametrize("value", ["{i}", "site {odd}", "fold_{n}"])
def test_folds_and_sources_are_no_splits(column: str, value: str) -> None:
    found = columns(f"file,label,{column}", f"{{i}}.jpg, {{name}}, {value}")
    assert found.split == -1
    (note,) = found.notes
    assert f"{column!r} of labels.csv names no split, e.g. " in note


def test_the_column_that_names_splits_is_taken() -> None:
    assert columns("file,label,set,phase", "{i}.jpg, {name}, {odd}, val").split == 3
    assert columns("file,label,set,phase", "{i}.jpg, {name},, val").split == 3
    assert columns("file,label,fold", "{i}.jpg, {name}, Test").split == 2
    assert columns("", "{i}.jpg, {name}, train").split == 2
    assert columns("file,label,split", "{i}.jpg, {name}, {i}").split == 2, (
        "refused where it is read"
    )
    unnamed = columns("", "{i}.jpg, {name}, 0.{i}")
    assert unnamed.split == -1 and "'column 3' of labels.csv names no split" in unnamed.notes[0]


@pytest.mark.parametrize(
    "head, row, place, flag",
    [
        ("file,label,is_valid", "{i}.jpg, {name}, {n}", 2, "valid"),
        ("file,label,Is_Train", "{i}.jpg, {name}, yes", 2, "train"),
        ("file,label,is_crowd", "{i}.jpg, {name}, {n}", -1, ""),
        ("file,label,is_test", "{i}.jpg, {name}, {i}", -1, ""),
    ],
)
def test_a_column_can_say_yes_for_a_split(head: str, row: str, place: int, flag: str) -> None:
    found = columns(head, row)
    assert (found.split, found.flag) == (place, flag) and bool(found.notes) == (place > 0)


def test_the_other_answer_is_the_other_split() -> None:
    valid, train = (
        columns(f"file,label,{n}", "{i}.jpg, {name}, no") for n in ("is_valid", "is_train")
    )
    assert [valid.split_of(cell) for cell in ("1", "False", "")] == ["valid", "train", ""]
    assert [train.split_of(cell) for cell in ("yes", "0")] == ["train", "test"]


def test_what_may_be_a_split_is_told() -> None:
    found = columns("file,label,valid", "{i}.jpg, {name}, 1")
    assert found.split == -1 and found.notes == [
        "'valid' of labels.csv may be a split, or something else: it is not used; call it is_valid "
        "if it is one"
    ]
    rows = [["file", "label", "usage"], ["a.jpg", "cat", "Training"], ["b.jpg", "dog", "Test"]]
    named = find_columns(rows, "labels.csv")
    assert named is not None and named.split == 2
    assert named.notes == ["'usage' of labels.csv holds the names of splits"]


def test_a_table_needs_files_and_labels() -> None:
    assert find_columns(table("file,text", "{i}.jpg, a"), "labels.csv") is None
    assert find_columns(table("label,text", "{n}, a"), "labels.csv") is None


@pytest.mark.parametrize(
    "head, missing",
    [
        ("File Name,lable", "no column of labels (has: File Name, lable)"),
        ("flie, label,split", "no column of files (has: flie, label, split)"),
        ("a.jpg,rose,3,4", "no column of files and none of labels (has: a.jpg, rose, 3, 4)"),
    ],
)
def test_what_a_table_lacks_is_told_with_what_it_has(head: str, missing: str) -> None:
    assert missing_columns(head.split(",")) == missing
    assert len(missing_columns(["flie"] * 1000)) < 160
