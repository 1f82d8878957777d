"""Heads of few photos: which photos teach, which are asked, and what the tables say."""

from __future__ import annotations

import numpy as np

from benchmarks.photo_heads import COUNTS, FORMS, Photos, accuracy, draws, forms, numbers_of_views

LABELS = np.repeat(np.arange(3), 12)
PLAIN = FORMS["as pooled"]


def rows_of(noise: float) -> np.ndarray:
    """Centers ``(36, 8)`` of three classes around three axes."""
    rng = np.random.default_rng(0)
    return (np.eye(8)[LABELS] * 3 + noise * rng.random((len(LABELS), 8))).astype(np.float32)


def photos_of(centers: np.ndarray, seen: np.ndarray) -> Photos:
    """Photos whose views are rows of another array, moved a little."""

    def views(photo: int, count: int) -> np.ndarray:
        rng = np.random.default_rng(photo)
        moved = seen[photo] + 0.1 * rng.random((64, seen.shape[1]))
        return moved[:count].astype(np.float32)

    return Photos(centers, LABELS, views)


def test_a_draw_has_as_many_photos_of_each_class_and_is_never_the_same() -> None:
    drawn = list(draws(LABELS, 2, 3))
    assert all(np.bincount(LABELS[one]).tolist() == [2, 2, 2] for one in drawn)
    assert len({tuple(sorted(one)) for one in drawn}) == 3
    assert [one.tolist() for one in draws(LABELS, 2, 3)] == [one.tolist() for one in drawn]


def test_only_photos_that_are_no_shots_are_asked() -> None:
    rows = rows_of(0.5)
    shots = next(draws(LABELS, 4, 1))
    assert accuracy(photos_of(rows, rows), shots, 3, PLAIN) == 1.0
    others = np.setdiff1d(np.arange(len(LABELS)), shots)
    wrong = rows.copy()
    wrong[others] = rows[others[::-1]]  # classes 0 and 2 change places
    assert accuracy(photos_of(wrong, rows), shots, 3, PLAIN) < 0.5
    unseen = rows.copy()
    unseen[others] = 1e3  # their views are not looked at
    assert accuracy(photos_of(rows, unseen), shots, 3, PLAIN) == 1.0


def test_the_tables_have_a_row_for_each_number_of_shots_and_gains_with_intervals() -> None:
    rows = rows_of(4.0)
    lines = forms(photos_of(rows, rows), 4).splitlines()
    assert lines[0] == f"| shots | {' | '.join(FORMS)} |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 1", "| 2", "| 4", "| 8"]
    assert all(line.count(" ± ") == len(FORMS) - 1 for line in lines[2:])
    lines = numbers_of_views(photos_of(rows, rows), 4).splitlines()
    assert lines[0].startswith("| shots | 12 views | 4 views | 24 views")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 1", "| 2"]
    assert all(line.count(" ± ") == len(COUNTS) - 1 for line in lines[2:])
    np.testing.assert_allclose(FORMS["signed root"](np.float32([[4, -9]])), [[2, -3]], atol=1e-3)
