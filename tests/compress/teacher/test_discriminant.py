"""The discriminant: its formula, both ways to solve it, and degenerate samples."""

from __future__ import annotations

import numpy as np
import pytest

from compress.teacher.artifact import unit
from compress.teacher.discriminant import discriminant


def sample(count: int, width: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    rows = rng.normal(size=(count, width)) + 2 * np.eye(classes, width)[labels]
    return (rows - rows.mean(axis=0)).astype(np.float32), labels


def direct(features: np.ndarray, labels: np.ndarray, ridge: float = 1.0) -> np.ndarray:
    """The formula as it stands in books."""
    classes = labels.max() + 1
    means = np.stack([features[labels == label].mean(axis=0) for label in range(classes)])
    within = features - means[labels]
    covariance = within.T @ within / len(within)
    covariance += ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    rows = np.linalg.inv(covariance.astype(float)) @ means.T
    return rows.T / np.linalg.norm(rows.T, axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(12, 40), (400, 8)], ids=["few images", "many images"])
def test_both_ways_give_the_formula(shape: tuple[int, int]) -> None:
    features, labels = sample(*shape)
    np.testing.assert_allclose(
        discriminant(features, labels, 3), direct(features, labels), atol=1e-5
    )


def test_a_direction_that_varies_within_classes_counts_less_than_with_class_means() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 20)
    features = np.zeros((40, 2), np.float32)
    features[:, 0] = np.where(labels, 1, -1)  # what tells the classes apart
    features[:, 1] = 10 * rng.normal(size=40)  # what does not
    features -= features.mean(axis=0)
    rows = discriminant(features, labels, 2, ridge=1e-3)
    assert abs(rows[1, 0]) > 0.99


def test_one_image_a_class_gives_the_class_means() -> None:
    features, labels = sample(3, 5)
    np.testing.assert_allclose(discriminant(features, labels, 3), unit(features), atol=1e-6)


def test_a_class_without_images_gets_zeros() -> None:
    features, labels = sample(12, 5)
    assert not discriminant(features, labels, 4)[3].any()
