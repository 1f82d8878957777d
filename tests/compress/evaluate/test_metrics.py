"""Metrics against oracles: counted by hand, by brute force, or from published tables."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from compress.evaluate import metrics as evaluate


@pytest.fixture
def votes() -> tuple[np.ndarray, np.ndarray]:
    """200 images, 7 classes: right about 70 % of the time."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 7, 200)
    logits = rng.normal(size=(200, 7)).astype(np.float32)
    logits[np.arange(200), labels] += 1.8
    return logits, labels


def test_hand_counted_confusion_f1_and_recall() -> None:
    labels = np.array([0, 0, 0, 1, 1, 3])
    predicted = np.array([0, 0, 1, 1, 0, 3])
    matrix = evaluate.confusion(predicted, labels, 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert evaluate.per_class_accuracy(matrix) == [2 / 3, 1 / 2, None, 1.0]
    # class 0: TP 2 FP 1 FN 1 -> 4/6; class 1: TP 1 FP 1 FN 1 -> 2/4; class 2 never occurs; class 3:
    # 1
    assert evaluate.macro_f1(matrix) == pytest.approx((4 / 6 + 2 / 4 + 1) / 3)


def test_a_class_that_is_only_predicted_counts_as_zero_f1() -> None:
    matrix = evaluate.confusion(np.array([0, 1]), np.array([0, 0]), 2)
    assert evaluate.macro_f1(matrix) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe, Stat. Med. 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_wilson_equals_the_published_table(successes: int, n: int, low: float, high: float) -> None:
    assert evaluate.wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_holds_its_level() -> None:
    """Mean coverage over p is close to 95 %: the property the interval is chosen for."""
    n, covered = 40, []
    for p in np.linspace(0.05, 0.95, 37):
        weights = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        inside = [lo <= p <= hi for lo, hi in (evaluate.wilson(k, n) for k in range(n + 1))]
        covered.append(sum(w for w, ok in zip(weights, inside, strict=True) if ok))
    assert 0.945 < np.mean(covered) < 0.96


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_what_is_no_fraction(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        evaluate.wilson(successes, n)


def test_softmax_and_nll_survive_large_logits() -> None:
    logits = np.array([[1000.0, 0.0], [0.0, 1000.0]])
    assert np.allclose(evaluate.softmax(logits), np.eye(2))
    assert evaluate.negative_log_likelihood(logits, np.array([0, 0])) == pytest.approx(500.0)


def test_nll_is_minus_log_probability(votes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = votes
    expected = -np.log(evaluate.softmax(logits)[np.arange(200), labels]).mean()
    assert evaluate.negative_log_likelihood(logits, labels) == pytest.approx(expected)


def test_ece_by_hand() -> None:
    """Confidence 0.8 four times, three right; confidence 0.6 once, wrong: 4/5·0.05 + 1/5·0.6."""
    probabilities = np.array([[0.8, 0.2]] * 4 + [[0.6, 0.4]])
    labels = np.array([0, 0, 0, 1, 1])
    table = evaluate.reliability(np.log(probabilities), labels)
    assert sum(row.count for row in table) == 5
    assert evaluate.ece(table) == pytest.approx(0.8 * 0.05 + 0.2 * 0.6)


def test_bins_are_right_closed_and_hold_every_image(votes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = votes
    table = evaluate.reliability(logits, labels)
    assert len(table) == 15 and sum(row.count for row in table) == 200
    for row in table:
        assert row.confidence is None or row.low < row.confidence <= row.high + 1e-12
    certain = evaluate.reliability(np.array([[900.0, 0.0]]), np.array([0]))
    assert certain[-1].count == 1


def test_a_calibrated_model_has_little_ece_and_an_overconfident_one_much() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 5)) * 2
    cumulative = evaluate.softmax(logits).cumsum(axis=1)
    labels = (rng.random((20_000, 1)) > cumulative).sum(axis=1).clip(0, 4)
    assert evaluate.ece(evaluate.reliability(logits, labels)) < 0.015
    assert evaluate.ece(evaluate.reliability(logits * 4, labels)) > 0.1


def test_evaluate_is_consistent_and_jsonable(votes: tuple[np.ndarray, np.ndarray]) -> None:
    import json

    logits, labels = votes
    facts = evaluate.evaluate(logits, labels)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["top1"] == evaluate.top1(logits, labels) == facts["correct"] / facts["n"]
    assert facts["ci95"][0] < facts["top1"] < facts["ci95"][1]
    assert np.array(facts["confusion"]).sum() == 200
    support = np.array(facts["confusion"]).sum(axis=1)
    assert np.dot(facts["per_class"], support) / 200 == pytest.approx(facts["top1"])


@pytest.mark.parametrize(("a", "b"), list(itertools.product(range(5), repeat=2)))
def test_mcnemar_equals_enumeration_of_all_coin_flips(a: int, b: int) -> None:
    n, extreme = a + b, min(a, b)
    outcomes = [sum(flips) for flips in itertools.product((0, 1), repeat=n)]
    tail = Fraction(sum(heads <= extreme for heads in outcomes), 2**n)
    assert evaluate.mcnemar_exact(a, b) == pytest.approx(float(min(Fraction(1), 2 * tail)))


def test_mcnemar_is_exact_for_many_images() -> None:
    assert evaluate.mcnemar_exact(3000, 3000) == 1.0
    assert 0 < evaluate.mcnemar_exact(400, 2000) < 1e-200


def test_paired_counts_and_symmetry(votes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = votes
    other = logits + np.random.default_rng(5).normal(scale=0.8, size=logits.shape)
    ab, ba = evaluate.paired(logits, other, labels), evaluate.paired(other, logits, labels)
    assert (ab.only_a, ab.only_b) == (ba.only_b, ba.only_a)
    assert ab.mcnemar_p == ba.mcnemar_p and ab.difference == -ba.difference
    assert ab.difference == pytest.approx(
        evaluate.top1(logits, labels) - evaluate.top1(other, labels)
    )
    assert ab.ci95[0] <= ab.difference <= ab.ci95[1]
    same = evaluate.paired(logits, logits, labels)
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
    assert evaluate.bootstrap_difference(only_a, only_b, n) == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.005
    )


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((3, 2)), np.zeros(2, int), "logits must be"),
        (np.zeros(3), np.zeros(3, int), "logits must be"),
        (np.zeros((0, 2)), np.zeros(0, int), "no images"),
        (np.zeros((1, 2)), np.array([2]), "labels must be 0..1"),
        (np.array([[0.0, np.nan]]), np.array([0]), "finite"),
    ],
)
def test_wrong_inputs_are_named(logits: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate.evaluate(logits, labels)


def test_paired_refuses_different_shapes() -> None:
    with pytest.raises(ValueError, match="same shape"):
        evaluate.paired(np.zeros((2, 3)), np.zeros((2, 4)), np.zeros(2, int))


def test_diversity_is_the_mean_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    features, labels = (
        rng.normal(size=(30, 6)) * rng.uniform(0.5, 2, (30, 1)),
        rng.integers(0, 3, 30),
    )
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    per_class = [
        np.mean(
            [
                1 - unit[i] @ unit[j]
                for i, j in itertools.combinations(np.flatnonzero(labels == k), 2)
            ]
        )
        for k in range(3)
    ]
    assert evaluate.within_class_diversity(features, labels) == pytest.approx(
        np.mean(per_class), abs=1e-12
    )
    half = features.astype(np.float16)
    assert evaluate.within_class_diversity(half, labels) == pytest.approx(
        np.mean(per_class), abs=2e-3
    )


def test_diversity_at_its_ends() -> None:
    same, labels = np.tile([[3.0, 4.0]], (4, 1)), np.array([0, 0, 0, 1])
    assert evaluate.within_class_diversity(same, labels) == pytest.approx(0, abs=1e-12)
    assert evaluate.within_class_diversity(np.eye(3), np.zeros(3, int)) == pytest.approx(1)
    assert evaluate.within_class_diversity(np.eye(3), np.arange(3)) is None, "no class has a pair"
    assert evaluate.within_class_diversity(np.empty((0, 4)), np.empty(0, int)) is None


def test_domain_gap_compares_class_means_and_only_shared_classes() -> None:
    synthetic, real = np.array([[1.0, 0], [0, 1], [5, 5]]), np.array([[2.0, 2], [0, 9], [1, 0]])
    # class 0: mean direction (1, 1) against (1, 1); class 1: (1, 1) against (0, 1); class 2 has no
    # real image
    gap = evaluate.domain_gap(
        synthetic[[0, 1, 2, 2]], np.array([0, 0, 1, 2]), real[[0, 1]], np.array([0, 1])
    )
    assert gap == pytest.approx((0 + 1 - math.sqrt(0.5)) / 2)
    assert evaluate.domain_gap(real, np.zeros(3, int), real, np.zeros(3, int)) == pytest.approx(
        0, abs=1e-12
    )
    assert evaluate.domain_gap(real, np.zeros(3, int), real, np.ones(3, int)) is None
