"""Classes of a folder and labels of a bundle: by name, prompt and synonym, in any spelling."""

from __future__ import annotations

import unicodedata

import pytest

from compress.assess.matching import match_classes, require_matches
from compress.data.split import ClassInfo
from compress.engine.errors import DataError
from runtime.bundle import Label

LABELS = (
    Label("water_lily", "water lily", ("nymphaea",)),
    Label("n01440764", "tench", ("Tinca tinca",)),
    Label("001.Black_footed_Albatross", "Black footed Albatross"),
    Label("Blüte"),
    Label("crane", "crane (a bird)", ("heron",)),
    Label("egret", None, ("heron",)),
)


def of(name: str, prompt: str | None = None, *synonyms: str) -> ClassInfo:
    return ClassInfo(name, name if prompt is None else prompt, None, synonyms)


@pytest.mark.parametrize(
    ("entry", "label", "by"),
    [
        (of("water_lily"), 0, "name"),
        (of("Water Lily"), 0, "name"),
        (of("WATER_LILY"), 0, "name"),
        (of("Nymphaea"), 0, "synonym"),
        (of("seerose", "water lily"), 0, "prompt"),
        (of("seerose", "seerose", "water lily"), 0, "synonym"),
        (of("tench"), 1, "prompt"),
        (of("tinca_tinca"), 1, "synonym"),
        (of("n01440764"), 1, "name"),
        (of("black_footed_albatross"), 2, "prompt"),
        (of("black-footed-albatross", "black footed albatross"), 2, "prompt"),
        (of(unicodedata.normalize("NFD", "Blüte")), 3, "name"),
        (of("crane"), 4, "name"),
    ],
)
def test_the_surest_words_decide(entry: ClassInfo, label: int, by: str) -> None:
    matching = match_classes([entry], LABELS)
    assert matching.labels == {entry.name: label} and matching.matches[0].by == by


def test_what_fits_several_labels_or_none_is_listed() -> None:
    matching = match_classes([of("heron"), of("oak"), of("crane")], LABELS)
    assert matching.ambiguous == {"heron": ("crane", "egret")} and matching.unknown == ("oak",)
    assert matching.labels == {"crane": 4}


def test_other_words_for_what_a_label_names_are_found() -> None:
    labels = (Label("ant", "ant"), Label("bee", "bee"), Label("crane", "crane"))
    matching = match_classes([of("emmet"), of("Pismire"), of("wasp"), of("Bees")], labels)
    assert matching.labels == {"emmet": 0, "Pismire": 0, "Bees": 1}
    assert {match.by for match in matching.matches} == {"synonym"}
    assert matching.unknown == ("wasp",)


def test_two_synonyms_alone_are_no_match() -> None:
    assert match_classes([of("reiher", "reiher", "nymphaea")], LABELS).unknown == ("reiher",)


def test_labels_whose_prompts_are_unknown_are_put_into_words() -> None:
    labels = (Label("black_footed-albatross"), Label("n01440764"))
    matching = match_classes([of("Black Footed Albatross"), of("tench")], labels)
    assert matching.labels == {"Black Footed Albatross": 0, "tench": 1}


def test_no_match_at_all_names_both_sides_and_the_way_out() -> None:
    matching = match_classes([of("ant"), of("bee")], LABELS)
    with pytest.raises(DataError, match="got ant, bee · expected water_lily, .*classes.yaml"):
        require_matches(matching, LABELS, "photos")
    with pytest.raises(DataError, match="got ant, bee; labels.csv takes no part · expected"):
        require_matches(matching, LABELS, "photos", ["labels.csv takes no part"])
