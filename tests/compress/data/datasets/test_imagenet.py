"""ImageNet-1k and its parts, from folders of the real layout."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import encoded

from compress.data.datasets import imagenet
from compress.data.datasets.imagenet import CLASSES, PARTS, clip_names, part_of
from compress.data.sources import open_source
from compress.engine.config import DataSettings
from compress.engine.errors import DataError
from compress.teacher.named import known_names


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from timm.data import ImageNetInfo

    root = tmp_path_factory.mktemp("datasets")
    picture = encoded(1)
    for number in ImageNetInfo("imagenet-1k").label_names():
        for split in ("train", "val"):
            folder = root / "imagenet" / split / number
            folder.mkdir(parents=True)
            (folder / f"{number}_1.JPEG").write_bytes(picture)
    return root


def opened(root: Path, name: str):
    return open_source(DataSettings(dataset=name, root=root, offline=True, shots=1))


def test_names_are_clips_and_no_two_are_equal(root: Path) -> None:
    source = opened(root, "imagenet")
    assert len(source.classes) == CLASSES == len(set(source.names)) == len(clip_names())
    assert source.names[:2] == ("tench", "goldfish") and source.names[134] == "crane bird"
    assert len(source.train) == len(source.test) == CLASSES
    known = known_names("imagenet-1k", source.classes)  # by the numbers of WordNet
    assert known.indices == tuple(range(CLASSES))


def test_the_parts_share_no_class_and_are_all_of_it(root: Path) -> None:
    parts = [part_of(part) for part in range(1, PARTS + 1)]
    assert sorted(row for part in parts for row in part) == list(range(CLASSES))
    assert all(len(part) == 100 and part == sorted(part) for part in parts)
    assert part_of(1)[:5] == [0, 2, 5, 18, 25], "a part is published: it stays what it is"
    source = opened(root, "imagenet-3")
    assert source.names[0] == clip_names()[part_of(3)[0]] and len(source.test) == 100


def test_folders_of_other_classes_are_refused(root: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number in ("n01440764", "n01443537"):
            folder = tmp_path / "imagenet" / split / number
            folder.mkdir(parents=True)
            (folder / "1.JPEG").write_bytes(encoded(1))
    with pytest.raises(DataError, match="classes of ImageNet-1k · got 2 folders in train"):
        opened(tmp_path, "imagenet")


def test_without_open_clip_its_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip_names.cache_clear()
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    with pytest.raises(Exception, match=r"needs open_clip.*clip2edge\[build\]"):
        opened(root, "imagenet-1")
    clip_names.cache_clear()
