"""Folder names become the words of a prompt, and what may be part of a name stays."""

from __future__ import annotations

import subprocess
import sys

import pytest
from paths import ROOT

from compress.data.folders.words import words_of


def prompts(*folders: str) -> list[str]:
    return [words.prompt for words in words_of(folders).values()]


@pytest.mark.parametrize(
    "folder, words",
    [
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("black_footed-albatross", "black footed albatross"),
        ("n01440764", "tench"),
        ("N01440764", "tench"),
        ("n02085620-Chihuahua", "Chihuahua"),
        ("BlackFootedAlbatross", "Black Footed Albatross"),
        ("waterLily", "water Lily"),
        ("WATER_LILY", "water lily"),
        ("class_12_tulip", "tulip"),
        ("Class 1 - Rose", "Rose"),
        ("07_tulip", "tulip"),
        ("3. Tulip", "Tulip"),
        ("tulip_03", "tulip"),
        ("101.head-phones", "head phones"),
        ("saint.bernard", "saint bernard"),
        ("Tomato___Late_blight", "Tomato Late blight"),
        ("water+lily", "water lily"),
        ("Blu\u0308te_rot", "Bl\u00fcte rot"),
        ("\u65e5\u672c_\u82b1", "\u65e5\u672c \u82b1"),
    ],
)
def test_a_folder_name_as_words(folder: str, words: str) -> None:
    assert words_of([folder, "something else"])[folder].prompt == words


@pytest.mark.parametrize(
    "name",
    ["0", "12", "007", "T-shirt", "X-ray", "jack-o-lantern", "7-eleven", "3d printer", "McDonald"]
    + [
        "iPhone",
        "BMW",
        "AK47",
        "St. Bernard",
        "101 dalmatians",
        "class 3",
        "n99999999",
        "_",
        "100%",
    ],
)
def test_what_may_be_a_name_stays(name: str) -> None:
    assert words_of([name, "something else"])[name].prompt == name


def test_numbers_before_every_name_are_numbering() -> None:
    assert prompts("1_rose", "2_tulip", "10_daisy") == ["rose", "tulip", "daisy"]
    assert prompts("1_rose", "tulip") == ["1 rose", "tulip"]
    assert prompts("rose_1", "tulip_2", "daisy_3") == ["rose", "tulip", "daisy"]
    assert prompts("boeing_747", "airbus_320") == ["boeing 747", "airbus 320"]


@pytest.mark.parametrize("names", [("2_door", "4_door"), ("rose_01", "rose_02"), ("01.a", "02.a")])
def test_numbers_that_alone_tell_classes_apart_stay(names: tuple[str, ...]) -> None:
    assert len(set(prompts(*names))) == 2


def test_wordnet_ids_have_synonyms_and_two_cranes_are_told_apart() -> None:
    words = words_of(["n01440764", "n02012849", "n03126707"])
    assert words["n01440764"].synonyms == ("Tinca tinca",)
    assert words["n02012849"].prompt.startswith("crane (large long-necked wading bird")
    assert words["n03126707"].prompt.startswith("crane (lifts and moves heavy objects")


def test_only_wordnet_ids_load_timm() -> None:
    code = (
        "import sys; from compress.data.folders.words import words_of\n"
        "words_of(['001.rose', 'waterLily']); print('timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
