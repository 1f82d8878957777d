"""Labels are matched by name over the splits."""

from __future__ import annotations

from pathlib import Path

import pytest
from image_folders import fill, image_folder

from compress.data.sources import open_source
from compress.engine.config import DataSettings
from compress.engine.errors import DataError


@pytest.mark.parametrize(
    "train, test",
    [
        ("Rose", "rose"),
        ("water_lily", "Water Lily"),
        ("n01440764", "N01440764"),
        ("water_lily", "water-lily"),
        ("WaterLily", "water_lily"),
        ("001.rose", "rose"),
        ("n01440764", "tench"),
    ],
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


def test_test_folders_that_read_the_same_are_not_guessed(tmp_path: Path) -> None:
    image_folder(tmp_path, classes=("oak",))
    fill(tmp_path / "train" / "water_lily", 2, seed=7000)
    for number, name in enumerate(("water-lily", "WaterLily")):
        fill(tmp_path / "test" / name, 2, seed=8000 + 10 * number)
    read = open_source(DataSettings(dataset=None, path=tmp_path, shots=2))
    assert read.facts is not None and set(read.facts.unknown) == {"water-lily", "WaterLily"}
    assert any("classes.yaml can name another" in note for note in read.notes)


def test_a_test_split_of_other_classes_is_refused(tmp_path: Path) -> None:
    image_folder(tmp_path, classes=("daisy", "iris"))
    for name, other in (("daisy", "daisies"), ("iris", "irises")):
        (tmp_path / "test" / name).rename(tmp_path / "test" / other)
    settings = DataSettings(dataset=None, path=tmp_path, shots=2)
    with pytest.raises(DataError, match="got daisies, irises · expected daisy, iris.*classes.yaml"):
        open_source(settings)
    (tmp_path / "classes.yaml").write_text("daisies: daisy\nirises: iris\n", encoding="utf-8")
    assert len(open_source(settings).test) == 6
