"""Errors about classes name what takes no part, and the archive instead of its unpacked files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from image_folders import encoded, fill

from compress.data.sources import open_source
from compress.engine.config import DataSettings
from compress.engine.errors import DataError


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_source(DataSettings(dataset=None, path=path, root=path.parent / "root", shots=1))
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["train.csv", "_annotations.csv", "labels.json", "labels/train/000.txt", "labels.xlsx"]
)
def test_a_table_of_another_name_is_told(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "in" / "img", 4)
    (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "in" / name).write_text("file,label\n000.jpg,rose\n", encoding="utf-8")
    (tmp_path / "in" / "README.txt").touch()
    told = refused(tmp_path / "in")
    assert f"{name} not read as labels" in told and "is labels.csv or metadata.csv" in told


def test_class_folders_need_no_word_on_other_files(tmp_path: Path) -> None:
    for number, name in enumerate(("rose", "oak")):
        fill(tmp_path / name, 3, seed=100 * number)
    (tmp_path / "train.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    read = open_source(DataSettings(dataset=None, path=tmp_path, shots=1))
    assert not any("train.csv" in note for note in read.notes)


@pytest.mark.parametrize("names", [("rose.zip", "oak.zip"), ("rose/a.zip", "oak/a.zip")])
def test_archives_in_a_folder_are_told(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(tmp_path / "in" / name, "w") as archive:
            archive.writestr("a.jpg", encoded())
    told = refused(tmp_path / "in")
    assert f"{min(names)} and 1 more not unpacked" in told and "an empty folder" not in told


def test_an_archive_is_called_by_its_own_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for number, name in enumerate(("Rose", "rose", "oak")):
            archive.writestr(f"{name}/a.jpg", encoded(number))
    told = refused(tmp_path / "photos.zip")
    assert f"two folders of {tmp_path / 'photos.zip'} give the same class name" in told
    assert "unpacked" not in told
