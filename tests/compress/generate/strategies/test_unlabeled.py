"""Strategy unlabeled: photos of a folder, spread over the classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_folders import encoded
from tiny_sources import jobs, sources

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError, DataError
from compress.generate.photo_folder import PhotoFolder, folder_of, missing
from compress.generate.strategies.unlabeled import Unlabeled
from compress.generate.tools import TOOLS


def settings(folder: Path, **changes: object) -> GenerateSettings:
    return GenerateSettings.model_validate(
        {"strategy": "unlabeled", "generator": str(folder), "per_class": 2, **changes}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(7):
        file = tmp_path / ("a" if number % 2 else "b") / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(encoded(number))
    (tmp_path / "notes.txt").write_text("no photo")
    return tmp_path


def test_photos_are_dealt_out_once_each_and_named_in_the_records(folder: Path) -> None:
    material = sources(0)
    strategy = Unlabeled(settings(folder), material)
    strategy.check()
    few = jobs()[:6]
    tool = TOOLS["photos"].load(strategy.settings, "cpu", True)
    assert isinstance(tool, PhotoFolder)
    made = strategy.generate(few, tool)
    edge = material.geometry.size
    assert made.images.shape == (6, edge, edge, 3) and made.conditions.shape == (6, 0)
    names = [record.source_ids[0] for record in made.records]
    assert len(set(names)) == len(names) and all((folder / name).is_file() for name in names)
    alone = strategy.generate(few[2:3], tool)
    np.testing.assert_array_equal(alone.images[0], made.images[2])
    assert made.records[0].method == "unlabeled"


@pytest.mark.parametrize(("asked", "expected"), [(2, 2), (300, 2), (1, 1)])
def test_no_more_are_used_than_there_are(folder: Path, asked: int, expected: int) -> None:
    strategy = Unlabeled(settings(folder, per_class=asked), sources(0))
    assert strategy.per_class() == expected  # 7 photos, 3 classes


def test_an_unreadable_photo_is_replaced_by_the_next(folder: Path) -> None:
    tool = folder_of(settings(folder))
    tool.files[0].write_bytes(b"no image at all")
    _, read = tool.read([0, 1], sources(0).geometry)
    assert read == [tool.files[1], tool.files[1]]
    for path in tool.files:
        path.write_bytes(b"no image at all")
    with pytest.raises(DataError, match="no unlabeled photo can be read"):
        tool.read([0], sources(0).geometry)


def test_its_identity_is_the_photos(folder: Path) -> None:
    before = TOOLS["photos"].fingerprint(settings(folder))
    assert TOOLS["photos"].fingerprint(settings(folder)) == before
    (folder / "more.jpg").write_bytes(encoded(9))
    assert TOOLS["photos"].fingerprint(settings(folder)) != before


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert str(nowhere) in str(missing(settings(nowhere), True))
    with pytest.raises(ConfigError, match="no folder of unlabeled photos"):
        Unlabeled(settings(nowhere), sources(0)).check()
    with pytest.raises(ConfigError, match="no photo in the folder"):
        Unlabeled(settings(tmp_path), sources(0)).check()
