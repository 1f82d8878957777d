"""Folders of photos as classes: what is one, what is refused, what does not count."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundles import class_photos, encoded, photo

from runtime.errors import BundleError, ImageError
from runtime.learning import photos
from runtime.learning.photos import class_folders, decoded_photos

KNOWN = ("rose", "iris")


def test_a_folder_is_a_class_and_subfolders_are_several(tmp_path: Path) -> None:
    class_photos(tmp_path / "all" / "tulip", 3)
    class_photos(tmp_path / "all" / "lily" / "deeper", 2)
    (tmp_path / "all" / "notes.txt").write_text("not a photo", encoding="utf-8")
    (tmp_path / "all" / "empty").mkdir()
    found = class_folders(tmp_path / "all", None, KNOWN)
    assert [(one.name, len(one.files)) for one in found] == [("lily", 2), ("tulip", 3)]
    (one,) = class_folders(tmp_path / "all" / "tulip", None, KNOWN)
    assert one.name == "tulip" and [file.name for file in one.files] == ["0.png", "1.png", "2.png"]
    (named,) = class_folders(tmp_path / "all" / "tulip", "parrot tulip", KNOWN)
    assert named.name == "parrot tulip"


def test_what_is_no_class(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is no folder"):
        class_folders(tmp_path / "gone", None, KNOWN)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no image"):
        class_folders(tmp_path / "empty", None, KNOWN)
    both = class_photos(tmp_path / "both", 1)
    class_photos(both / "tulip", 1)
    with pytest.raises(ImageError, match="photos and folders of photos.*'tulip'"):
        class_folders(both, None, KNOWN)
    class_photos(tmp_path / "split" / "train" / "tulip", 1)
    with pytest.raises(ImageError, match="splits are no classes.*train"):
        class_folders(tmp_path / "split", None, KNOWN)
    class_photos(tmp_path / "two" / "a", 1)
    with pytest.raises(ImageError, match="several classes have one name"):
        class_folders(tmp_path / "two", "tulip", KNOWN)


@pytest.mark.parametrize("name", ["rose", "ROSE"])
def test_a_class_that_is_there_is_not_added_again(name: str, tmp_path: Path) -> None:
    folder = class_photos(tmp_path / "a", 1)
    with pytest.raises(BundleError, match="has this class already.*'rose'.*another name"):
        class_folders(folder, name, KNOWN)
    with pytest.raises(BundleError, match="name of the new class"):
        class_folders(folder, "a\nb", KNOWN)


def test_each_content_counts_once_and_bad_files_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = class_photos(tmp_path / "a", 3)
    (folder / "copy.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "again.bmp").write_bytes(encoded(photo(9), "BMP"))
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    (one,) = class_folders(folder, None, KNOWN)
    refused: dict[str, str] = {}
    assert len(list(decoded_photos(one.files, refused))) == 4
    assert refused[str(folder / "copy.png")] == "the same image as another one"
    assert len(refused) == 2 and refused[str(folder / "bad.jpg")]
    monkeypatch.setattr(photos, "MOST_PHOTOS", 2)
    assert len(list(decoded_photos(one.files, refused))) == 2
    assert "2 photos of a class are enough" in refused.values()
