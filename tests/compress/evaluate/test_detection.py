from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from compress.evaluate.detection import auroc, detection, false_positives, threshold_for


def test_scores_that_separate_are_perfect_and_equal_ones_a_coin() -> None:
    ours, others = np.arange(10.0, 20), np.arange(5.0)
    assert auroc(ours, others) == 1 and auroc(others, ours) == 0
    assert auroc(np.ones(4), np.ones(7)) == 0.5
    found = detection(ours, others)
    assert (found.wanted, found.others, found.auroc, found.fpr95) == (10, 5, 1.0, 0.0)


def test_normal_scores_have_the_known_areas() -> None:
    rng = np.random.default_rng(0)
    ours, others = rng.normal(2, 1, 20_000), rng.normal(0, 1, 20_000)
    assert auroc(ours, others) == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.005)
    expected = 1 - norm.cdf(2 + norm.ppf(0.05))
    assert false_positives(ours, others) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("count", "lost"), [(1, 0), (19, 0), (20, 1), (100, 5), (256, 12)])
def test_the_threshold_keeps_the_share(count: int, lost: int) -> None:
    scores = np.random.default_rng(1).permutation(count).astype(float)
    kept = scores >= threshold_for(scores)
    assert int((~kept).sum()) == lost and kept.mean() >= 0.95
    assert threshold_for(scores, 1.0) == scores.min()


def test_no_image_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="both sides need images"):
        auroc(np.ones(3), np.empty(0))
