"""Class names and the label sets that networks were trained on."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("timm")

from compress.data.split import ClassInfo
from compress.teacher.named import known_names


def names(*classes: str | ClassInfo) -> list[ClassInfo]:
    return [one if isinstance(one, ClassInfo) else ClassInfo(one, one) for one in classes]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("ant", 310),
        ("bees", 309),  # the plural
        ("Emmet", 310),  # a synonym, in another case
        ("n01440764", 0),
        ("golden_retriever", 207),
        ("golden-retriever", 207),
        ("daisies", 985),
        ("yellow lady's slipper", 986),
    ],
)
def test_a_name_finds_its_row(name: str, index: int) -> None:
    known = known_names("imagenet-1k", names(name))
    assert known.indices == (index,) and known.complete


def test_the_words_of_a_class_count_where_its_folder_is_no_name() -> None:
    entry = ClassInfo("017", "ant")
    synonym = ClassInfo("x", "y", synonyms=("emmet",))
    for one in (entry, synonym):
        assert known_names("imagenet-1k", [one]).indices == (310,)


def test_two_classes_of_one_row_are_no_names() -> None:
    known = known_names("imagenet-1k", names("ant", "emmet", "bee"))
    assert known.indices == (-1, -1, 309) and not known.ambiguous
    assert known.shared.keys() == {"ant", "emmet"} and "n02219486" in known.shared["ant"]
    assert any(
        note.startswith("several names of one thing: ant (n02219486") for note in known.notes()
    )


@pytest.mark.parametrize("name", ["n02330245", "n02330245-mouse", "n02691156", "N02691156"])
def test_an_id_of_wordnet_means_no_other_thing_of_the_same_name(name: str) -> None:
    """The rodent and the airplane, whose words also name a computer's mouse and a tool."""
    entry = ClassInfo(name, "mouse", synonyms=("plane",))
    assert known_names("imagenet-1k", [entry]).indices == (-1,)


def test_an_id_among_the_synonyms_chooses_the_meaning() -> None:
    bird = ClassInfo("crane", "crane", synonyms=("wader", "n02012849"))
    known = known_names("imagenet-1k", [bird])
    assert known.indices == (134,) and not known.ambiguous and not known.doubtful


def test_a_meaning_is_told_first_where_the_word_has_others() -> None:
    known = known_names("imagenet-1k", names("ant", "mouse", "crane"))
    assert known.doubtful == {"mouse"}
    meant, several = known.notes()
    assert "mouse is 'mouse, computer mouse' (not the only meaning); ant is 'ant, emmet" in meant
    assert "crane (n02012849 crane, large long-necked wading bird" in several
    assert "; n03126707 crane, lifts" in several and "an id of WordNet as the name" in several
    many = ["ant", "bee", "daisy", "tench", "goldfish", "hay", "zebra"]
    assert "more" not in known_names("imagenet-1k", names(*many)).notes()[0]
    assert "and 1 more" in known_names("imagenet-1k", names(*many, "lion", "tiger")).notes()[0]
    assert known_names("imagenet-1k", names("windflower")).notes() == []


def test_an_ambiguous_name_gets_no_row_and_is_listed() -> None:
    known = known_names("imagenet-1k", names("crane", "ant"))
    assert known.indices == (-1, 310) and not known.complete
    assert list(known.ambiguous) == ["crane"] and len(known.ambiguous["crane"]) == 2


def test_unknown_names_and_unknown_label_sets_give_nothing() -> None:
    assert known_names("imagenet-1k", names("windflower")).indices == (-1,)
    assert known_names(None, names("ant")).indices == (-1,)


def test_rows_are_those_of_the_classifier_at_unit_length() -> None:
    classifier = np.arange(1, 4001, dtype=np.float32).reshape(1000, 4)
    rows = known_names("imagenet-1k", names("ant", "windflower")).rows(classifier)
    np.testing.assert_allclose(rows[0], classifier[310] / np.linalg.norm(classifier[310]))
    assert not rows[1].any()
