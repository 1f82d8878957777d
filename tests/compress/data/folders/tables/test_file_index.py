"""Files as tables call them, among many that have one name."""

from __future__ import annotations

import time

import pytest

from compress.data.folders.tables.file_index import FileIndex, find

KEYS = ("imgs/7/image.jpg", "imgs/8/image.jpg", "train/9/image.jpg", "a b/Bl\u00fcte.png", "x")


@pytest.mark.parametrize(
    "name, found",
    [
        ("imgs/7/image.jpg", 0),
        ("data/imgs/8/image.jpg", 1),
        ("8/image", 1),
        ("C:\\photos\\imgs\\8\\image.jpg", 1),
        ("./a b/Blu\u0308te", 3),
        ("Bl\u00fcte.png", 3),
        ("/x", 4),
        ("image.jpg", None),
        ("ge.jpg", None),
        ("imgs/../imgs/7/image.jpg", 0),
        ("../imgs/7/image.jpg", None),
        ("imgs/7/", None),
        ("7", None),
        ("", None),
        (".", None),
    ],
)
def test_a_path_ends_in_whole_parts_and_may_lack_its_suffix(name: str, found: int | None) -> None:
    index = FileIndex(KEYS)
    assert find(name, "", index, index) == (None if found is None else KEYS[found])


def test_a_path_may_lead_out_of_the_folder_of_its_table() -> None:
    index, near = FileIndex(KEYS), FileIndex(["train/9/image.jpg"])
    assert find("../imgs/7/image.jpg", "train", near, index) == KEYS[0]
    assert find("../../imgs/7/image.jpg", "train", near, index) is None


def test_files_near_the_table_come_where_all_are_several() -> None:
    near, every = FileIndex(KEYS[2:3]), FileIndex(KEYS)
    assert find("image.jpg", "train", near, every) == KEYS[2]
    assert find("9/image.jpg", "train", near, every) == KEYS[2]
    assert find("8/image.jpg", "train", near, every) == KEYS[1]


@pytest.mark.parametrize("end", ["image.jpg", "images/image.jpg", "a/b/c/image.jpg"])
@pytest.mark.parametrize("suffix", ["", ".jpg"])
def test_many_files_of_one_name_are_found_in_no_time(end: str, suffix: str) -> None:
    """A scan of the files that end alike takes minutes for as many."""
    index = FileIndex(f"imgs/{i:05d}/{end}" for i in range(20_000))
    rows = [f"data/imgs/{i:05d}/{end.removesuffix('.jpg')}{suffix}" for i in range(20_000)]
    start = time.process_time()
    assert all(find(row, "", index, index) == f"imgs/{row[10:15]}/{end}" for row in rows)
    assert not any(find(f"{row}x", "train", index, index) for row in rows)
    assert time.process_time() - start < 20
