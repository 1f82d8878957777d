"""The diversity statistic against its definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from compress.diversity import within_class_diversity


def test_it_is_the_mean_over_classes_of_the_mean_over_pairs() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(9, 4)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])  # class 2 has no pair
    means = [
        np.mean([1 - a @ b for a, b in itertools.combinations(features[labels == c].astype(float), 2)]) for c in (0, 1)
    ]
    assert within_class_diversity(features, labels) == pytest.approx(np.mean(means))


def test_equal_images_have_none_and_single_ones_do_not_count() -> None:
    same = np.tile(np.array([[0.6, 0.8]], np.float32), (4, 1))
    assert within_class_diversity(same, np.zeros(4, np.int64)) == pytest.approx(0, abs=1e-6)
    assert within_class_diversity(same, np.arange(4)) == 0.0
