"""Paired comparison of two models against oracles: enumeration, formula, literal bootstrap."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from compress.evaluate.comparison import bootstrap_difference, mcnemar_exact, paired
from compress.evaluate.metrics import top1


@pytest.mark.parametrize(("a", "b"), list(itertools.product(range(5), repeat=2)))
def test_mcnemar_equals_enumeration_of_all_coin_flips(a: int, b: int) -> None:
    n, extreme = a + b, min(a, b)
    outcomes = [sum(flips) for flips in itertools.product((0, 1), repeat=n)]
    tail = Fraction(sum(heads <= extreme for heads in outcomes), 2**n)
    assert mcnemar_exact(a, b) == pytest.approx(float(min(Fraction(1), 2 * tail)))


def mcnemar_formula(a: int, b: int) -> float:
    """``min(1, 2 Σ_{i ≤ min(a, b)} C(a+b, i) / 2^(a+b))``, exact in integers."""
    return min(1.0, 2 * sum(math.comb(a + b, i) for i in range(min(a, b) + 1)) / 2 ** (a + b))


@pytest.mark.parametrize(("a", "b"), [(0, 0), (0, 1), (3, 9), (17, 41), (300, 260), (400, 900)])
def test_mcnemar_equals_its_formula(a: int, b: int) -> None:
    assert mcnemar_exact(a, b) == pytest.approx(mcnemar_formula(a, b), rel=1e-12)


def test_mcnemar_is_exact_for_many_images() -> None:
    assert mcnemar_exact(3000, 3000) == 1.0
    assert 0 < mcnemar_exact(400, 2000) < 1e-200


def test_paired_counts_and_symmetry(votes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = votes
    other = logits + np.random.default_rng(5).normal(scale=0.8, size=logits.shape)
    ab, ba = paired(logits, other, labels), paired(other, logits, labels)
    assert (ab.only_a, ab.only_b) == (ba.only_b, ba.only_a)
    assert ab.mcnemar_p == ba.mcnemar_p and ab.difference == -ba.difference
    assert ab.difference == pytest.approx(top1(logits, labels) - top1(other, labels))
    assert ab.ci95[0] <= ab.difference <= ab.ci95[1]
    same = paired(logits, logits, labels)
    assert (same.agreement, same.mcnemar_p, same.difference, same.ci95) == (
        1.0,
        1.0,
        0.0,
        (0.0, 0.0),
    )


def test_multinomial_bootstrap_equals_resampling_images() -> None:
    """The shortcut and the literal bootstrap over images give the same interval."""
    n, only_a, only_b = 300, 40, 22
    score = np.array([1] * only_a + [-1] * only_b + [0] * (n - only_a - only_b))
    drawn = score[np.random.default_rng(1).integers(0, n, (10_000, n))].mean(axis=1)
    assert bootstrap_difference(only_a, only_b, n) == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.005
    )


def test_paired_refuses_different_shapes() -> None:
    with pytest.raises(ValueError, match="same shape"):
        paired(np.zeros((2, 3)), np.zeros((2, 4)), np.zeros(2, int))
