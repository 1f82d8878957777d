"""Labels in doubt and outliers, against a plain computation and planted mistakes."""

from __future__ import annotations

import numpy as np

from compress.evaluate.doubts import doubts_and_outliers


def groups(classes: int = 6, each: int = 8, noise: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """Unit features around directions that share a large common part, as those of networks do."""
    rng = np.random.default_rng(0)
    common = 3 * rng.normal(size=32)
    centers = common + rng.normal(size=(classes, 32))
    labels = np.repeat(np.arange(classes), each)
    rows = centers[labels] + noise * rng.normal(size=(classes * each, 32))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


def test_wrong_labels_come_first_and_right_ones_are_not_doubted() -> None:
    features, labels = groups()
    assert doubts_and_outliers(features, labels) == ([], [])
    wrong = labels.copy()
    wrong[[3, 20]] = [4, 1]
    doubts, outliers = doubts_and_outliers(features, wrong)
    assert {(doubt.row, doubt.nearest) for doubt in doubts[:2]} == {(3, 0), (20, 2)}
    assert {far.row for far in outliers} == {3, 20}


def test_the_margin_is_of_means_without_the_image() -> None:
    features, labels = groups(3, 4, noise=2.0)
    doubts, _ = doubts_and_outliers(features, labels)
    means = np.stack([features[labels == k].mean(axis=0) for k in range(3)])
    rows = features - means.mean(axis=0)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = {}
    for i, row in enumerate(rows):
        cosines = []
        for k in range(3):
            others = [j for j in np.flatnonzero(labels == k) if j != i]
            mean = rows[others].sum(axis=0)
            cosines.append(row @ mean / np.linalg.norm(mean))
        margin = max(np.delete(cosines, labels[i])) - cosines[labels[i]]
        if margin > 0:
            expected[i] = margin
    assert expected and {doubt.row for doubt in doubts} == set(expected)
    np.testing.assert_allclose(
        [doubt.margin for doubt in doubts], sorted(expected.values())[::-1], atol=1e-5
    )


def test_an_image_alone_in_its_class_is_not_judged() -> None:
    features, labels = groups(3, 1)
    assert doubts_and_outliers(features, labels) == ([], [])
    features, labels = groups(2, 4)
    features = np.concatenate([features, -features[:1]])
    doubts, outliers = doubts_and_outliers(features, np.append(labels, 7))
    assert all(row.row != 8 for row in [*doubts, *outliers])
    assert doubts_and_outliers(features, np.zeros(9, int)) == ([], [])


def test_equal_features_are_in_no_doubt() -> None:
    assert doubts_and_outliers(np.ones((6, 4)), np.repeat([0, 1], 3)) == ([], [])
