"""What is chosen: unsure images, far from the known and from each other."""

from __future__ import annotations

import numpy as np
import pytest

from compress.suggest.choose import choose, uncertainties

NONE = np.empty((0, 3))


def unit(rows: list[list[float]]) -> np.ndarray:
    array = np.array(rows, float)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_uncertainty_is_one_less_the_margin() -> None:
    rows = np.array([[0.5, 0.5, 0], [1, 0, 0], [0.6, 0.3, 0.1]])
    np.testing.assert_allclose(uncertainties(rows), [1, 0, 0.7])
    np.testing.assert_allclose(uncertainties(np.ones((2, 1))), 0)


def test_near_copies_are_not_chosen_before_something_else() -> None:
    features = unit([[1, 0, 0], [1, 0.01, 0], [0, 1, 0]])
    chosen = choose(features, np.array([1.0, 0.99, 0.3]), NONE, 3)
    assert [one.index for one in chosen] == [0, 2, 1]
    assert chosen[0].distance == 1 and chosen[2].score < 1e-3


def test_what_is_like_a_known_class_or_sure_comes_last() -> None:
    features = unit([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    known = unit([[1, 0.1, 0]])
    chosen = choose(features, np.array([1.0, 0.8, 0.1]), known, 2)
    assert [one.index for one in chosen] == [1, 2]
    assert chosen[0].score == pytest.approx(chosen[0].uncertainty * chosen[0].distance, abs=1e-6)


def test_greedy_scores_by_hand_and_the_count() -> None:
    rng = np.random.default_rng(0)
    features, weights = unit(rng.normal(size=(30, 3)).tolist()), rng.random(30)
    known = unit(rng.normal(size=(2, 3)).tolist())
    picked: list[int] = []
    for _ in range(7):
        there = np.concatenate([known, features[picked]])
        gain = weights * (1 - (features @ there.T).max(axis=1))
        gain[picked] = -1
        picked.append(int(gain.argmax()))
    assert [one.index for one in choose(features, weights, known, 7)] == picked
    assert len(choose(features, weights, known, 99)) == 30
    assert choose(np.empty((0, 3)), np.empty(0), known, 3) == []


def test_ties_go_in_order() -> None:
    features = unit([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert [one.index for one in choose(features, np.ones(3), NONE, 3)] == [0, 1, 2]
