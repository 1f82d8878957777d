"""Metrics of one model against oracles: hand counts, brute force, formulas, published tables."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from compress.evaluate import metrics


def test_hand_counted_confusion_f1_and_recall() -> None:
    labels = np.array([0, 0, 0, 1, 1, 3])
    predicted = np.array([0, 0, 1, 1, 0, 3])
    matrix = metrics.confusion(predicted, labels, 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert metrics.per_class_accuracy(matrix) == [2 / 3, 1 / 2, None, 1.0]
    # class 0: TP 2 FP 1 FN 1 -> 4/6; class 1: TP 1 FP 1 FN 1 -> 2/4; class 2 never occurs; class 3:
    # 1
    assert metrics.macro_f1(matrix) == pytest.approx((4 / 6 + 2 / 4 + 1) / 3)


def test_a_class_that_is_only_predicted_counts_as_zero_f1() -> None:
    matrix = metrics.confusion(np.array([0, 1]), np.array([0, 0]), 2)
    assert metrics.macro_f1(matrix) == pytest.approx((2 / 3 + 0) / 2)


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
    assert metrics.wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def wilson_formula(successes: int, n: int) -> tuple[float, float]:
    """``(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`` with ``p = successes / n``."""
    z = 1.959963984540054  # two-sided 95 % quantile of the standard normal distribution
    p, z2 = successes / n, z * z
    center, spread = p + z2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (center - spread) / (1 + z2 / n), (center + spread) / (1 + z2 / n)


def test_wilson_equals_its_formula() -> None:
    for n in (1, 7, 40, 1000):
        for successes in range(0, n + 1, max(1, n // 20)):
            expected = wilson_formula(successes, n)
            assert metrics.wilson(successes, n) == pytest.approx(expected, abs=1e-12)
        assert metrics.wilson(0, n)[0] == 0 and metrics.wilson(n, n)[1] == 1


def test_softmax_and_nll_equal_their_formulas(votes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = votes
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    expected = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    assert np.array_equal(metrics.softmax(logits), expected)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    nll = (log_sum - shifted[np.arange(200), labels]).mean()
    assert metrics.negative_log_likelihood(logits, labels) == pytest.approx(nll, abs=1e-12)


def test_wilson_holds_its_level() -> None:
    """Mean coverage over p is close to 95 %: the property the interval is chosen for."""
    n, covered = 40, []
    for p in np.linspace(0.05, 0.95, 37):
        weights = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        inside = [lo <= p <= hi for lo, hi in (metrics.wilson(k, n) for k in range(n + 1))]
        covered.append(sum(w for w, ok in zip(weights, inside, strict=True) if ok))
    assert 0.945 < np.mean(covered) < 0.96


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_what_is_no_fraction(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        metrics.wilson(successes, n)


def test_softmax_and_nll_survive_large_logits() -> None:
    logits = np.array([[1000.0, 0.0], [0.0, 1000.0]])
    assert np.allclose(metrics.softmax(logits), np.eye(2))
    assert metrics.negative_log_likelihood(logits, np.array([0, 0])) == pytest.approx(500.0)


def test_nll_is_minus_log_probability(votes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = votes
    expected = -np.log(metrics.softmax(logits)[np.arange(200), labels]).mean()
    assert metrics.negative_log_likelihood(logits, labels) == pytest.approx(expected)


def test_ece_by_hand() -> None:
    """Confidence 0.8 four times, three right; confidence 0.6 once, wrong: 4/5·0.05 + 1/5·0.6."""
    probabilities = np.array([[0.8, 0.2]] * 4 + [[0.6, 0.4]])
    labels = np.array([0, 0, 0, 1, 1])
    table = metrics.reliability(np.log(probabilities), labels)
    assert sum(row.count for row in table) == 5
    assert metrics.ece(table) == pytest.approx(0.8 * 0.05 + 0.2 * 0.6)


def test_bins_are_right_closed_and_hold_every_image(votes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = votes
    table = metrics.reliability(logits, labels)
    assert len(table) == 15 and sum(row.count for row in table) == 200
    for row in table:
        assert row.confidence is None or row.low < row.confidence <= row.high + 1e-12
    certain = metrics.reliability(np.array([[900.0, 0.0]]), np.array([0]))
    assert certain[-1].count == 1


def test_a_calibrated_model_has_little_ece_and_an_overconfident_one_much() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 5)) * 2
    cumulative = metrics.softmax(logits).cumsum(axis=1)
    labels = (rng.random((20_000, 1)) > cumulative).sum(axis=1).clip(0, 4)
    assert metrics.ece(metrics.reliability(logits, labels)) < 0.015
    assert metrics.ece(metrics.reliability(logits * 4, labels)) > 0.1


def test_evaluate_is_consistent_and_jsonable(votes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = votes
    facts = metrics.evaluate(logits, labels)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["top1"] == metrics.top1(logits, labels) == facts["correct"] / facts["n"]
    assert facts["ci95"][0] < facts["top1"] < facts["ci95"][1]
    assert np.array(facts["confusion"]).sum() == 200
    support = np.array(facts["confusion"]).sum(axis=1)
    assert np.dot(facts["per_class"], support) / 200 == pytest.approx(facts["top1"])


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
        metrics.evaluate(logits, labels)
