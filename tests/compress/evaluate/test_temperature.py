from __future__ import annotations

import numpy as np
import pytest

from compress.evaluate.temperature import at_temperature, cross_entropy, fit_temperature, smoothed


def drawn(count: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too large by a factor, and labels drawn from the honest probabilities."""
    rng = np.random.default_rng(seed)
    honest = 2 * rng.normal(size=(count, 5))
    shares = np.exp(honest) / np.exp(honest).sum(1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in shares])
    return honest * temperature, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_factor_by_which_logits_are_too_large_is_found(factor: float) -> None:
    logits, labels = drawn(20_000, factor)
    assert fit_temperature(logits, smoothed(labels, 5)) == pytest.approx(factor, rel=0.03)


def test_no_other_temperature_has_a_lower_loss() -> None:
    logits, labels = drawn(300, 2.0)
    targets = smoothed(labels, 5)
    found = fit_temperature(logits, targets)
    best = cross_entropy(logits / found, targets)
    for other in (0.9 * found, 0.99 * found, 1.01 * found, 1.1 * found, 1.0):
        assert cross_entropy(logits / other, targets) > best


def test_another_models_answers_are_targets_too() -> None:
    logits, _ = drawn(200, 1.0)
    soft = np.exp(logits / 4)
    assert fit_temperature(logits, soft / soft.sum(1, keepdims=True)) == pytest.approx(4, rel=1e-3)


def test_answers_that_are_all_right_are_no_proof_of_certainty() -> None:
    labels = np.arange(30) % 3
    logits = 3.0 * np.eye(3)[labels]
    shares = np.exp(logits / fit_temperature(logits, smoothed(labels, 3)))
    confidence = (shares / shares.sum(1, keepdims=True)).max(1)
    np.testing.assert_allclose(confidence, 1 - 1 / 32, atol=1e-3)


def test_no_answer_changes() -> None:
    logits, _ = drawn(50, 1.0)
    scaled = at_temperature(logits.astype(np.float32), 3.7)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled.argmax(1), logits.argmax(1))


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, K\)"):
        fit_temperature(np.zeros((0, 3)), np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"must be \(N, K\)"):
        fit_temperature(np.zeros((2, 3)), np.zeros((2, 4)))
