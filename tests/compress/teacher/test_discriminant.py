"""The discriminant: its formula, both ways to solve it, and degenerate samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from compress.teacher.artifact import unit
from compress.teacher.discriminant import discriminant, held_out_scale


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


def noisy(spread: float, each: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two views of each of some images of three classes."""
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(3), 2 * each)
    images = np.arange(len(labels)) // 2
    centers = np.eye(3, 6)[labels] + spread * rng.normal(size=(3 * each, 6))[images]
    rows = centers + 0.01 * rng.normal(size=centers.shape)
    return unit((rows - rows.mean(axis=0)).astype(np.float32)), labels, images


def test_the_scale_is_lower_where_left_out_images_are_harder() -> None:
    easy, hard = (held_out_scale(*noisy(spread), 3) for spread in (0.1, 1.0))
    assert easy is not None and hard is not None and easy > 3 * hard


def test_the_scale_makes_the_confidence_that_of_images_it_did_not_see() -> None:
    features, labels, images = noisy(0.8, 60)
    half = images % 2 == 0
    scale = held_out_scale(features[half], labels[half], images[half], 3)
    rows = discriminant(features[half], labels[half], 3)
    assert scale is not None
    sure = softmax(scale * features[~half] @ rows.T, axis=1)
    confidence, right = sure.max(axis=1).mean(), (sure.argmax(axis=1) == labels[~half]).mean()
    assert abs(confidence - right) < 0.15


def test_one_image_a_class_leaves_nothing_out() -> None:
    features, labels = sample(3, 5)
    assert held_out_scale(features, labels, np.arange(3), 3) is None
