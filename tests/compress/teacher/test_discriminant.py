"""The discriminant: its formula, both ways to solve it, and degenerate samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from compress.teacher.artifact import unit
from compress.teacher.discriminant import RIDGE, RIDGES, Views, best_fit, discriminant


def sample(count: int, width: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    rows = rng.normal(size=(count, width)) + 2 * np.eye(classes, width)[labels]
    return (rows - rows.mean(axis=0)).astype(np.float32), labels


def single(features: np.ndarray, labels: np.ndarray, classes: int) -> Views:
    """Images of one view each."""
    return Views(features, labels, np.arange(len(labels)), classes)


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
        discriminant(single(features, labels, 3)), direct(features, labels), atol=1e-5
    )


def test_a_direction_that_varies_within_classes_counts_less_than_with_class_means() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 20)
    features = np.zeros((40, 2), np.float32)
    features[:, 0] = np.where(labels, 1, -1)  # what tells the classes apart
    features[:, 1] = 10 * rng.normal(size=40)  # what does not
    features -= features.mean(axis=0)
    rows = discriminant(single(features, labels, 2), ridge=1e-3)
    assert abs(rows[1, 0]) > 0.99


def test_one_image_a_class_gives_the_class_means() -> None:
    features, labels = sample(3, 5)
    np.testing.assert_allclose(discriminant(single(features, labels, 3)), unit(features), atol=1e-6)


def test_a_class_without_images_gets_zeros() -> None:
    features, labels = sample(12, 5)
    assert not discriminant(single(features, labels, 4))[3].any()


def test_a_known_row_counts_as_one_image_of_the_usual_length() -> None:
    features, labels = sample(3, 5)
    known = np.zeros((3, 5), np.float32)
    known[1] = unit(np.arange(1, 6, dtype=np.float32))
    usual = np.linalg.norm(features, axis=1).mean()
    expected = unit(np.stack([features[0], features[1] + usual * known[1], features[2]]))
    twice = Views(np.tile(features, (2, 1)), np.tile(labels, 2), np.tile(labels, 2), 3)
    for views in (single(features, labels, 3), twice):  # two views of an image are one image
        np.testing.assert_allclose(discriminant(views, known), expected, atol=1e-6)


def test_a_class_that_is_only_known_points_to_its_row() -> None:
    features, labels = sample(3, 5)
    known = np.zeros((4, 5), np.float32)
    known[3] = unit(np.ones(5, np.float32))
    rows = discriminant(single(features, labels, 4), known)
    np.testing.assert_allclose(rows[3], known[3], atol=1e-6)


def test_a_known_row_helps_where_the_one_shot_is_off() -> None:
    """The one shot of class 0 lies beside class 1."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(3), 4)
    shots = np.eye(3, 6)
    shots[0] = 0.4 * shots[0] + 0.6 * shots[1] + [0, 0, 0, 0.8, 0, 0]
    rows = (shots[labels] + 0.05 * rng.normal(size=(12, 6))).astype(np.float32)
    views = Views(rows - rows.mean(axis=0), labels, labels, 3)
    known = np.zeros((3, 6), np.float32)
    known[0, 0] = 1
    seen = np.eye(3, 6) - rows.mean(axis=0)
    margin = [
        (seen[0] @ one[0]) - (seen[0] @ one[1])
        for one in (discriminant(views), discriminant(views, known))
    ]
    assert margin[1] > margin[0] + 0.1


def noisy(spread: float, each: int = 12) -> Views:
    """Two views of each of some images of three classes."""
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(3), 2 * each)
    images = np.arange(len(labels)) // 2
    centers = np.eye(3, 6)[labels] + spread * rng.normal(size=(3 * each, 6))[images]
    rows = centers + 0.01 * rng.normal(size=centers.shape)
    return Views(unit((rows - rows.mean(axis=0)).astype(np.float32)), labels, images, 3)


def test_the_scale_is_lower_where_left_out_images_are_harder() -> None:
    easy, hard = (best_fit(noisy(spread)) for spread in (0.1, 1.0))
    assert easy is not None and hard is not None and easy.scale > 3 * hard.scale


def test_the_scale_makes_the_confidence_that_of_images_it_did_not_see() -> None:
    views = noisy(0.8, 60)
    half = views.images % 2 == 0
    shots, rest = views.part(half), views.part(~half)
    fit = best_fit(shots)
    assert fit is not None
    sure = softmax(fit.scale * rest.features @ discriminant(shots, ridge=fit.ridge).T, axis=1)
    confidence, right = sure.max(axis=1).mean(), (sure.argmax(axis=1) == rest.labels).mean()
    assert abs(confidence - right) < 0.15


def test_one_image_a_class_leaves_nothing_out() -> None:
    features, labels = sample(3, 5)
    assert best_fit(single(features, labels, 3)) is None


def correlated(each: int, seed: int) -> Views:
    """Images of four classes; half of the directions vary ten times as much as the others."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), each)
    spread = np.where(np.arange(60) < 30, 1.0, 0.1)
    means = 0.6 * np.random.default_rng(9).normal(size=(4, 60)) * spread
    rows = means[labels] + rng.normal(size=(4 * each, 60)) * spread
    features = unit((rows - rows.mean(axis=0)).astype(np.float32))
    return Views(features, labels, np.arange(len(labels)), 4)


def test_a_ridge_that_left_out_images_want_is_better_on_new_ones() -> None:
    new = correlated(500, 1)
    for each, expected in ((8, max(RIDGES)), (300, min(RIDGES))):
        views = correlated(each, 0)
        fit = best_fit(views)
        assert fit is not None and fit.ridge == expected
        correct = [
            (
                (new.features @ discriminant(views, ridge=ridge).T).argmax(axis=1) == new.labels
            ).mean()
            for ridge in (expected, RIDGE)
        ]
        assert correct[0] > correct[1]
