"""Paired comparison of two models against oracles: enumeration, formula, likelihood, coverage."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from compress.evaluate.comparison import Z95, mcnemar_exact, paired, score_interval
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
        score_interval(0, 0, len(labels)),
    )


@pytest.mark.parametrize("n", [1, 8, 120, 10_000])
def test_models_that_agree_everywhere_are_not_certain_to_be_equal(n: int) -> None:
    bound = Z95**2 / (n + Z95**2)
    assert score_interval(0, 0, n) == pytest.approx((-bound, bound), rel=1e-9)


def score_of(difference: float, only_a: int, only_b: int, n: int) -> float:
    """The score statistic with the nuisance parameter found by maximizing the likelihood."""
    from scipy.optimize import minimize_scalar

    def minus_log_likelihood(q: float) -> float:
        p = q + difference
        return -(
            only_a * math.log(p)
            + only_b * math.log(q)
            + (n - only_a - only_b) * math.log(1 - p - q)
        )

    low, high = max(0.0, -difference), (1 - difference) / 2
    edge = 1e-12 * (high - low)
    best = minimize_scalar(
        minus_log_likelihood,
        bounds=(low + edge, high - edge),
        method="bounded",
        options={"xatol": 1e-13},
    )
    variance = 2 * best.x + difference - difference**2
    return (only_a - only_b - n * difference) / math.sqrt(n * variance)


@pytest.mark.parametrize(
    ("only_a", "only_b", "n"), [(12, 2, 50), (3, 9, 120), (40, 22, 300), (1, 7, 40), (5, 5, 60)]
)
def test_the_ends_of_the_interval_are_where_the_score_is_z(
    only_a: int, only_b: int, n: int
) -> None:
    low, high = score_interval(only_a, only_b, n)
    assert low < (only_a - only_b) / n < high
    assert score_of(low, only_a, only_b, n) == pytest.approx(Z95, abs=2e-3)
    assert score_of(high, only_a, only_b, n) == pytest.approx(-Z95, abs=2e-3)
    assert score_interval(only_b, only_a, n) == pytest.approx((-high, -low), abs=1e-12)


def test_at_the_ends_of_the_scale() -> None:
    for only_a, only_b, n in ((30, 0, 30), (0, 30, 30), (1, 0, 1), (0, 1, 1)):
        low, high = score_interval(only_a, only_b, n)
        assert -1 <= low <= (only_a - only_b) / n <= high <= 1
        assert high - low > 0.05


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    for p, q in ((0.02, 0.01), (0.1, 0.05)):
        drawn = rng.multinomial(120, (p, q, 1 - p - q), size=1000)
        ends = [score_interval(int(a), int(b), 120) for a, b, _ in drawn]
        share = np.mean([low <= p - q <= high for low, high in ends])
        assert 0.93 <= share <= 0.995


def test_paired_refuses_different_shapes() -> None:
    with pytest.raises(ValueError, match="same shape"):
        paired(np.zeros((2, 3)), np.zeros((2, 4)), np.zeros(2, int))
