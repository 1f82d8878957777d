"""A linear head in closed form: Fisher's discriminant with a ridge, of few images' views.

Each class is a Gaussian around its mean and all share one covariance, which the views of the shots
show. With one to eight shots it beats a logistic regression on the same features: twelve species of
flowers, EfficientNet-Lite0, five seeds: 69 / 83 / 91 / 93 % against 67 / 81 / 89 / 92 %.

A class whose name the network knows has the row of its classifier as one image more: among twelve
species of flowers ants and bees are then told right at 79 / 84 / 85 / 89 %, without it at
63 / 78 / 83 / 88 % (plain views, twenty draws of shots).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from compress.teacher.artifact import unit

RIDGE = 1.0  # added to the covariance's diagonal, in mean variances
FOLDS = 4
SCALES = (1.0, 100.0)  # a scale lies between


@dataclass(frozen=True)
class Views:
    """Features of views of labeled images.

    Attributes:
        features: ``(n, D)``, less their common mean.
        labels: the class of each, ``(n,)``.
        images: the image that each is a view of, ``(n,)``.
        classes: how many there are; some may have no view.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    images: NDArray[np.int64]
    classes: int

    def part(self, mask: NDArray[np.bool_]) -> Views:
        """Some of them."""
        return Views(self.features[mask], self.labels[mask], self.images[mask], self.classes)


def discriminant(
    views: Views, known: NDArray[np.float32] | None = None, ridge: float = RIDGE
) -> NDArray[np.float32]:
    """Unit rows ``(K, D)``: the class means, whitened by the covariance within classes.

    A class without view or known row gets a row of zeros.

    Args:
        known: unit rows ``(K, D)`` that point to where classes lie, each worth one image at the
            means' usual length; zeros for the others.
    """
    rows, labels = views.features.astype(np.float64), views.labels
    counts = np.bincount(labels, minlength=views.classes)
    means = np.zeros((views.classes, rows.shape[1]))
    np.add.at(means, labels, rows)
    means /= np.maximum(counts, 1)[:, None]
    within = rows - means[labels]
    if known is not None:
        means = _with_known(means, views, known)
    count, width = within.shape
    variance = float(np.square(within).sum()) / max(count * width, 1)
    if variance == 0.0:  # one image of each class, and no views of it
        return unit(means.astype(np.float32))
    floor = ridge * variance
    if count < width:  # the inverse by way of the smaller matrix (Woodbury)
        gram = within @ within.T / count + floor * np.eye(count)
        inside = np.linalg.solve(gram, within @ means.T / count)
        solved = (means - (within.T @ inside).T) / floor
    else:
        covariance = within.T @ within / count + floor * np.eye(width)
        solved = np.linalg.solve(covariance, means.T).T
    return unit(solved.astype(np.float32))


def _with_known(
    means: NDArray[np.float64], views: Views, known: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Means ``(K, D)`` of which known rows are one image more."""
    pairs = np.unique(np.stack([views.labels, views.images]), axis=1)
    images = np.bincount(pairs[0], minlength=views.classes)[:, None]
    lengths = np.linalg.norm(means, axis=1)
    usual = float(lengths[lengths > 0].mean()) if lengths.any() else 1.0
    told = known.any(axis=1, keepdims=True)
    return np.asarray((images * means + usual * known) / np.maximum(images + told, 1))


def held_out_scale(views: Views, known: NDArray[np.float32] | None = None) -> float | None:
    """The scale of cosines at which their softmax is calibrated on images that were left out.

    Every image is left out once, with all its views: the fit on views that it was made from would
    be far too sure.

    Args:
        views: of unit features.
        known: as for `discriminant`.

    Returns: the scale of least mean cross-entropy, None if no class has two images.
    """
    features, labels, images = views.features, views.labels, views.images
    fold = np.zeros(len(features), np.int64)
    for label in np.unique(labels):
        mine = np.unique(images[labels == label])
        place = {image: rank % FOLDS if len(mine) > 1 else -1 for rank, image in enumerate(mine)}
        rows = labels == label
        fold[rows] = [place[image] for image in images[rows]]
    cosines, goals = [], []
    for out in range(FOLDS):
        tested = fold == out
        if tested.any():
            rows = discriminant(views.part(~tested), known)
            cosines.append(features[tested] @ rows.T)
            goals.append(labels[tested])
    if not cosines:
        return None
    scores = np.concatenate(cosines).astype(np.float64)
    truth = np.concatenate(goals)

    def loss(scale: float) -> float:
        return -float(log_softmax(scale * scores, axis=1)[np.arange(len(truth)), truth].mean())

    return float(minimize_scalar(loss, bounds=SCALES, method="bounded").x)
