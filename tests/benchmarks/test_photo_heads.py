"""Heads of few photos: which photos teach, which are asked, and what the table says."""

from __future__ import annotations

import numpy as np

from benchmarks.photo_heads import FORMS, accuracy, draws, table

LABELS = np.repeat(np.arange(3), 12)


def features(noise: float) -> np.ndarray:
    """``(36, 2, 8)`` of three classes around three axes."""
    rng = np.random.default_rng(0)
    rows = np.eye(8)[LABELS][:, None] * 3 + noise * rng.random((len(LABELS), 2, 8))
    return rows.astype(np.float32)


def test_a_draw_has_as_many_photos_of_each_class_and_is_never_the_same() -> None:
    drawn = list(draws(LABELS, 2, 3))
    assert all(np.bincount(LABELS[one]).tolist() == [2, 2, 2] for one in drawn)
    assert len({tuple(sorted(one)) for one in drawn}) == 3
    assert [one.tolist() for one in draws(LABELS, 2, 3)] == [one.tolist() for one in drawn]


def test_only_photos_that_are_no_shots_are_asked() -> None:
    rows = features(0.5)
    shots = next(draws(LABELS, 4, 1))
    assert accuracy(rows, LABELS, shots) == 1.0
    wrong = rows.copy()
    others = np.setdiff1d(np.arange(len(LABELS)), shots)
    wrong[others, 0] = rows[others[::-1], 0]  # classes 0 and 2 change places
    assert accuracy(wrong, LABELS, shots) < 0.5
    wrong = rows.copy()
    wrong[others, 1] = 1e3  # their views are not looked at
    assert accuracy(wrong, LABELS, shots) == 1.0


def test_the_table_has_a_row_for_each_number_of_shots_and_gains_with_intervals() -> None:
    lines = table(features(4.0), LABELS, 4).splitlines()
    assert lines[0] == f"| shots | {' | '.join(FORMS)} |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 1", "| 2", "| 4", "| 8"]
    assert all(line.count(" ± ") == len(FORMS) - 1 for line in lines[2:])
    np.testing.assert_allclose(FORMS["signed root"](np.float32([[4, -9]])), [[2, -3]], atol=1e-3)
