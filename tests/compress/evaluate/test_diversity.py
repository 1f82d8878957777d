"""Diversity and domain gap of features against brute force and hand-made cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from compress.evaluate.diversity import domain_gap, within_class_diversity


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
    assert within_class_diversity(features, labels) == pytest.approx(np.mean(per_class), abs=1e-12)
    half = features.astype(np.float16)
    assert within_class_diversity(half, labels) == pytest.approx(np.mean(per_class), abs=2e-3)


def test_diversity_at_its_ends() -> None:
    same, labels = np.tile([[3.0, 4.0]], (4, 1)), np.array([0, 0, 0, 1])
    assert within_class_diversity(same, labels) == pytest.approx(0, abs=1e-12)
    assert within_class_diversity(np.eye(3), np.zeros(3, int)) == pytest.approx(1)
    assert within_class_diversity(np.eye(3), np.arange(3)) is None, "no class has a pair"
    assert within_class_diversity(np.empty((0, 4)), np.empty(0, int)) is None


def test_domain_gap_compares_class_means_and_only_shared_classes() -> None:
    synthetic, real = np.array([[1.0, 0], [0, 1], [5, 5]]), np.array([[2.0, 2], [0, 9], [1, 0]])
    # class 0: mean direction (1, 1) against (1, 1); class 1: (1, 1) against (0, 1); class 2 has no
    # real image
    gap = domain_gap(
        synthetic[[0, 1, 2, 2]], np.array([0, 0, 1, 2]), real[[0, 1]], np.array([0, 1])
    )
    assert gap == pytest.approx((0 + 1 - math.sqrt(0.5)) / 2)
    assert domain_gap(real, np.zeros(3, int), real, np.zeros(3, int)) == pytest.approx(0, abs=1e-12)
    assert domain_gap(real, np.zeros(3, int), real, np.ones(3, int)) is None
