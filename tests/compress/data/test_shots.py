from __future__ import annotations

import numpy as np
import pytest

from compress.data.shots import draw_shots, hold_out, stratified_part
from compress.data.split import Split
from compress.engine.errors import DataError

NAMES = ("rose", "tulip", "daisy")


def split(counts=(20, 30, 10), names=NAMES) -> Split:
    labels = np.repeat(np.arange(len(counts)), counts)
    keys = tuple(f"{names[label]}/{index:03d}" for index, label in enumerate(labels))
    return Split(labels, keys, lambda index: index)


def keys(
    source: Split, shots: int, seed: int = 0, broken: frozenset[int] = frozenset(), names=NAMES
) -> list[str]:
    def read(indices):
        return [None if index in broken else index for index in indices]

    drawn = list(draw_shots(source, names, shots, seed, read))
    assert all(index == value and source.labels[index] == label for label, index, value in drawn)
    return [source.keys[index] for _, index, _ in drawn]


def test_sets_of_one_seed_are_nested_and_balanced():
    sets = [set(keys(split(), shots)) for shots in (1, 2, 4, 8)]
    assert [len(drawn) for drawn in sets] == [3, 6, 12, 24]
    assert all(small < large for small, large in zip(sets, sets[1:], strict=False))


def test_seeds_differ_and_repeat():
    assert keys(split(), 4, seed=1) == keys(split(), 4, seed=1) != keys(split(), 4, seed=2)


def test_order_of_listing_and_other_classes_change_no_draw():
    source = split()
    shuffled = source.subset(np.random.default_rng(0).permutation(len(source)))
    assert keys(shuffled, 4) == keys(source, 4)
    only_two = source.subset(np.flatnonzero(source.labels < 2))
    assert keys(only_two, 4, names=NAMES[:2]) == keys(source, 4)[:8]


def test_unreadable_images_are_replaced_by_the_next_in_order():
    source = split()
    first = keys(source, 2)
    broken = frozenset([source.keys.index(first[0])])
    again = keys(source, 2, broken=broken)
    assert first[0] not in again and len(again) == 6
    assert again[0] == first[1] and again[2:] == first[2:]


@pytest.mark.parametrize("broken", [frozenset(), frozenset(range(50, 60))])
def test_too_few_images_names_class_got_and_remedy(broken):
    with pytest.raises(
        DataError, match=r"class 'daisy' has too few images.*got .*expected at least .*--shots"
    ):
        keys(split(), 11 if not broken else 2, broken=broken)


def test_hold_out_keeps_every_class_on_both_sides():
    source = split((2, 30, 10))
    train, test = hold_out(source, NAMES, 0.2)
    assert sorted([*train, *test]) == list(range(42))
    assert np.bincount(source.labels[test]).tolist() == [1, 6, 2]
    assert np.bincount(source.labels[train]).tolist() == [1, 24, 8]
    assert np.array_equal(hold_out(source, NAMES, 0.2)[1], test)


def test_hold_out_leaves_a_single_image_for_training():
    source = split((1, 5, 0))
    train, test = hold_out(source, NAMES, 0.2)
    assert np.bincount(source.labels[train], minlength=3).tolist() == [1, 4, 0]
    assert np.bincount(source.labels[test], minlength=3).tolist() == [0, 1, 0]


def test_only_classes_that_may_be_empty_are():
    source = split((4, 0, 3))
    drawn = list(draw_shots(source, NAMES, 2, 0, list, empty=("tulip",)))
    assert [label for label, _, _ in drawn] == [0, 0, 2, 2]
    with pytest.raises(DataError, match=r"'daisy' has too few.*the smallest class has 3"):
        list(draw_shots(source, NAMES, 4, 0, list, empty=("tulip", "daisy")))


def test_part_keeps_shares_and_is_nested():
    source = split((20, 40, 20))
    small, large = (set(stratified_part(source, NAMES, limit).tolist()) for limit in (8, 40))
    assert small < large
    assert np.bincount(source.labels[sorted(small)]).tolist() == [2, 4, 2]
    assert np.bincount(source.labels[sorted(large)]).tolist() == [10, 20, 10]


def test_all_takes_every_readable_image_and_contains_the_k_shots():
    source = split()
    broken = frozenset([3, 51])
    everything = keys(source, "all", broken=broken)
    assert sorted(everything) == sorted(
        key for index, key in enumerate(source.keys) if index not in broken
    )
    assert set(keys(source, 4, broken=broken)) < set(everything)
    assert everything[:4] == keys(source, 4, broken=broken)[:4], "in the same order"


@pytest.mark.parametrize("counts", [(20, 30, 0), (20, 30, 10)])
def test_all_refuses_a_class_without_a_readable_image(counts):
    with pytest.raises(
        DataError,
        match=r"class 'daisy' has too few images for 1 shot.*got (0 images|0 readable of 10)",
    ):
        keys(split(counts), "all", broken=frozenset(range(50, 60)))
