"""Labels are matched by name over the splits."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import fill, image_folder

from compress.data.sources import open_source
from compress.engine.config import DataSettings


@pytest.mark.parametrize(
    "train, test", [("Rose", "rose"), ("water_lily", "Water Lily"), ("n01440764", "N01440764")]
)
def test_test_folders_in_another_case_are_the_same_class(
    tmp_path: Path, train: str, test: str
) -> None:
    image_folder(tmp_path, classes=("oak",))
    fill(tmp_path / "train" / train, 2, seed=7000)
    fill(tmp_path / "test" / test, 2, seed=8000)
    read = open_source(DataSettings(dataset=None, path=tmp_path, shots=2))
    assert set(read.names) == {"oak", train} and len(read.test) == 5
    assert read.facts is not None and [row.folder for row in read.facts.renamed] == [test]
    assert read.facts.counts["test"][train] == 2


def test_the_label_stays_and_the_prompt_gets_the_words(tmp_path: Path) -> None:
    image_folder(tmp_path, classes=("001.Black_footed_Albatross", "n01440764", "black_cat"))
    read = open_source(DataSettings(dataset=None, path=tmp_path, shots=2, category="animal"))
    told = {entry.name: entry.prompt for entry in read.classes}
    assert told == {
        "001.Black_footed_Albatross": "Black footed Albatross",
        "n01440764": "tench",
        "black_cat": "black cat",
    }
    assert any("prompts say 2 names in words" in note for note in read.notes)


def test_classes_that_a_prompt_cannot_tell_apart_are_told(tmp_path: Path) -> None:
    image_folder(tmp_path, classes=("001.rose", "rose", "oak"))
    read = open_source(DataSettings(dataset=None, path=tmp_path, shots=2))
    assert any("to a prompt these classes are the same: 001.rose, rose" in n for n in read.notes)
