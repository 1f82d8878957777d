"""What changed between two forms: oracles for the paired test per class, Holm's correction and the
images that flipped.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.evaluate.changes import LISTED, changes, holm, needed
from compress.evaluate.comparison import mcnemar_exact, paired

NAMES = ("rose", "tulip", "poppy")


def logits(answers: list[int], sure: float = 4.0) -> np.ndarray:
    return np.eye(len(NAMES), dtype=np.float32)[answers] * sure


def test_a_form_against_itself_changes_nothing() -> None:
    same = logits([0, 1, 2, 0])
    found = changes(("a", same), ("b", same), np.array([0, 1, 2, 1]), NAMES, list("wxyz"))
    assert (found.lost, found.gained, found.moved) == (0, 0, 0)
    assert found.classes == () and (found.tested, found.smallest) == (3, 1), (
        "what did not change is not listed"
    )
    assert found.right_to_wrong == found.wrong_to_right == ()


def test_every_image_is_counted_where_it_belongs() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    before, after = logits([0, 0, 1, 1, 0, 2]), logits([0, 1, 0, 1, 2, 2])
    found = changes(("int8", after), ("fp32", before), labels, NAMES, list("uvwxyz"))
    assert (found.n, found.lost, found.gained, found.moved) == (6, 1, 1, 1), (
        "v lost, w gained, y wrong in both"
    )
    (lost,), (gained,) = found.right_to_wrong, found.wrong_to_right
    assert (lost.key, lost.true, lost.before, lost.after) == ("v", "rose", "rose", "tulip")
    assert (gained.key, gained.before, gained.after) == ("w", "tulip", "rose")
    rose = next(row for row in found.classes if row.name == "rose")
    assert (rose.n, rose.lost, rose.gained, rose.difference) == (3, 1, 1, 0)
    assert lost.after_confidence == pytest.approx(np.exp(4) / (np.exp(4) + 2), abs=1e-4)


def test_classes_add_up_to_the_whole_comparison() -> None:
    rng = np.random.default_rng(0)
    a, b, labels = rng.normal(size=(300, 3)), rng.normal(size=(300, 3)), rng.integers(0, 3, 300)
    found, whole = changes(("a", a), ("b", b), labels, NAMES), paired(a, b, labels)
    assert sum(row.gained for row in found.classes) == found.gained == whole.only_a
    assert sum(row.lost for row in found.classes) == found.lost == whole.only_b
    assert sum(row.difference * row.n for row in found.classes) / 300 == pytest.approx(
        whole.difference
    )
    assert [row.difference for row in found.classes] == sorted(
        row.difference for row in found.classes
    )
    assert found.right_to_wrong == (), "without keys no image is listed"


def test_a_class_that_lost_everything_is_significant_and_one_image_is_not() -> None:
    labels = np.repeat([0, 1, 2], 20)
    before = labels.copy()
    after = np.where(labels == 1, 2, labels)
    after[0] = 1
    found = changes(
        ("int8", logits(after.tolist())), ("fp32", logits(before.tolist())), labels, NAMES
    )
    assert [row.name for row in found.classes] == ["tulip", "rose"] and (
        found.tested,
        found.smallest,
    ) == (3, 20)
    assert found.classes[0].difference == -1 and found.classes[0].p_holm < 1e-4
    assert found.classes[1].p_holm == 1


def test_a_class_without_images_is_left_out_of_the_correction() -> None:
    labels = np.zeros(20, np.int64)
    found = changes(("a", logits([1] * 20)), ("b", logits([0] * 20)), labels, NAMES)
    assert found.tested == len(found.classes) == 1 and found.classes[0].p_holm == found.classes[
        0
    ].p == mcnemar_exact(0, 20)


def test_long_lists_are_cut_but_counted() -> None:
    n = LISTED + 40
    keys = [f"{i:04d}" for i in range(n)]
    after = logits([1] * n) * np.linspace(1, 2, n)[:, None]
    found = changes(("a", after), ("b", logits([0] * n)), np.zeros(n, np.int64), NAMES, keys)
    assert found.lost == n and len(found.right_to_wrong) == LISTED
    assert found.right_to_wrong[0].key == keys[-1], "the surest wrong answer first"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_raw_and_bonferroni_and_keeps_the_order(p: list[float]) -> None:
    corrected = holm(p)
    assert all(
        raw <= value <= min(1.0, len(p) * raw) + 1e-12
        for raw, value in zip(p, corrected, strict=True)
    )
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


def test_holm_by_hand() -> None:
    """Holm's own arithmetic: 0.01, 0.04, 0.03, 0.005 times 4, 3, 2, 1 in order, then made
    monotone.
    """
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("classes", [1, 2, 32, 101, 1000])
def test_needed_is_the_smallest_number_that_suffices(classes: int) -> None:
    n = needed(classes)
    assert classes * mcnemar_exact(n, 0) <= 0.05 < classes * mcnemar_exact(n - 1, 0)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 names"):
        changes(("a", logits([0])), ("b", logits([0])), np.array([0]), ("x", "y"))
    with pytest.raises(ValueError, match="3 keys"):
        changes(("a", logits([0])), ("b", logits([0])), np.array([0]), NAMES, list("abc"))
