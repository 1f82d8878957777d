"""The species: look-alikes, held out everywhere, and drawn one by one."""

from __future__ import annotations

import re

import numpy as np
import pytest

from compress.engine.errors import DataError
from compress.petals import attributes as at
from compress.petals import world
from compress.petals.world import GENUS_SIZE, SPECIES, render_species, training_flowers


def test_genera_are_look_alikes_that_differ_enough() -> None:
    assert len(SPECIES) == 32
    for start in range(0, len(SPECIES), GENUS_SIZE):
        genus = [species.attributes for species in SPECIES[start : start + GENUS_SIZE]]
        assert len({row[at.COLOR] for row in genus}) == len({row[at.SHAPE] for row in genus}) == 1
        assert len({row[at.COUNT] for row in genus}) > 1
        for i, one in enumerate(genus):
            assert all(
                sum(a != b for a, b in zip(one, other, strict=True)) >= 2 for other in genus[:i]
            )


def test_names_are_unique_and_hold_color_and_three_more() -> None:
    assert len({species.name for species in SPECIES}) == len(SPECIES)
    for species in SPECIES:
        assert len(species.named) == 4 and at.COLOR in species.named
        assert species.name != species.caption
        assert set(re.findall(r"\w+", species.name)) <= set(re.findall(r"\w+", species.caption))


def test_species_are_banned_from_training_pictures_and_from_their_corners() -> None:
    banned = {
        int(number) for number in at.code(np.array([species.attributes for species in SPECIES]))
    }
    assert not banned & set(world._NEIGHBORS.tolist()) and len(world._NEIGHBORS) == 7680 - len(
        banned
    )
    flowers = training_flowers(0, 96)
    assert not banned & set(at.code(flowers.attributes).tolist())


def test_training_pictures_do_not_depend_on_how_the_range_is_split() -> None:
    whole, part = training_flowers(0, 12), training_flowers(5, 9)
    assert np.array_equal(whole.images[5:9], part.images)
    assert np.array_equal(whole.attributes[5:9], part.attributes) and np.array_equal(
        whole.styles[5:9], part.styles
    )


def test_a_species_picture_is_the_same_alone_and_in_a_batch() -> None:
    together = render_species([3, 3, 30], "train", [0, 63, 5])
    assert np.array_equal(together[1], render_species([3], "train", [63])[0])
    assert np.array_equal(together[2], render_species([30], "train", [5])[0])


@pytest.mark.parametrize(
    "change", [{"split": "test"}, {"style": "night"}, {"seed": 1}, {"indices": [1]}]
)
def test_split_style_seed_and_index_each_change_the_picture(change: dict) -> None:
    arguments = {"species_ids": [4], "split": "train", "indices": [0], "style": "photo", "seed": 0}
    assert not np.array_equal(
        render_species(**arguments), render_species(**{**arguments, **change})
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"split": "tset"}, "did you mean 'test'"),
        ({"style": "foto"}, "photo"),
        ({"species_ids": [32]}, "0..31"),
        ({"indices": [40], "split": "test"}, "0..39"),
    ],
)
def test_what_does_not_exist_is_refused(change: dict, words: str) -> None:
    arguments = {"species_ids": [4], "split": "train", "indices": [0], "style": "photo"}
    with pytest.raises(DataError, match=re.escape(words)):
        render_species(**{**arguments, **change})


def test_no_pictures_is_an_empty_array() -> None:
    assert render_species([], "train", []).shape == (0, 32, 32, 3)
