"""A linear head in closed form: Fisher's discriminant with a ridge, of few images' views.

Each class is a Gaussian around its mean and all share one covariance, which the views of the shots
show. With one to eight shots it beats a logistic regression on the same features: twelve species of
flowers, EfficientNet-Lite0, five seeds: 69 / 83 / 91 / 93 % against 67 / 81 / 89 / 92 %.

The ridge and the scale are those that suit left-out images best: few images, or images far from
what the network was trained on, want a larger ridge (CIFAR-10 at 10 shots: 60 % with ten times the
mean variance, 59 % with one), many a smaller one.

A class whose name the network knows has the row of its classifier as one image more: among twelve
species of flowers ants and bees are then told right at 79 / 84 / 85 / 89 %, without it at
63 / 78 / 83 / 88 % (plain views, twenty draws of shots).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from compress.teacher.artifact import unit

RIDGE = 1.0  # added to the covariance's diagonal, in mean variances; where none can be chosen
RIDGES = (0.1, 0.3, RIDGE, 3.0, 10.0)
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


@dataclass(frozen=True)
class Fit:
    """What suits images that were left out.

    Attributes:
        ridge: for `discriminant`.
        scale: of cosines with its rows, at which their softmax is calibrated.
    """

    ridge: float
    scale: float


def discriminant(
    views: Views, known: NDArray[np.float32] | None = None, ridge: float = RIDGE
) -> NDArray[np.float32]:
    """Unit rows ``(K, D)``: the class means, whitened by the covariance within classes.

    A class without view or known row gets a row of zeros.

    Args:
        known: unit rows ``(K, D)`` that point to where classes lie, each worth one image at the
            means' usual length; zeros for the others.
    """
    return _discriminants(views, known, (ridge,))[0]


def _discriminants(
    views: Views, known: NDArray[np.float32] | None, ridges: Sequence[float]
) -> list[NDArray[np.float32]]:
    """`discriminant` for each of several ridges."""
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
        return [unit(means.astype(np.float32))] * len(ridges)
    small = count < width  # then the inverse by way of the smaller matrix (Woodbury)
    products = (within @ within.T if small else within.T @ within) / count
    solved = []
    for ridge in ridges:
        floor = ridge * variance
        matrix = products + floor * np.eye(len(products))
        if small:
            inside = np.linalg.solve(matrix, within @ means.T / count)
            found = (means - (within.T @ inside).T) / floor
        else:
            found = np.linalg.solve(matrix, means.T).T
        solved.append(unit(found.astype(np.float32)))
    return solved


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


def best_fit(views: Views, known: NDArray[np.float32] | None = None) -> Fit | None:
    """The ridge and the scale of least mean cross-entropy on images that were left out.

    Every image is left out once, with all its views: the fit on views that it was made from would
    be far too sure. Another ridge than ``RIDGE`` has to gain more than a standard error.

    Args:
        views: of unit features.
        known: as for `discriminant`.

    Returns: None if no class has two images.
    """
    folds = _folds(views)
    cosines: list[list[NDArray[np.float32]]] = [[] for _ in RIDGES]
    goals, seen = [], []
    for out in range(FOLDS):
        tested = folds == out
        if tested.any():
            found = _discriminants(views.part(~tested), known, RIDGES)
            for each, rows in zip(cosines, found, strict=True):
                each.append(views.features[tested] @ rows.T)
            goals.append(views.labels[tested])
            seen.append(views.images[tested])
    if not goals:
        return None
    truth = np.concatenate(goals)
    image = np.unique(np.concatenate(seen), return_inverse=True)[1]
    fits, losses = [], []
    for ridge, each in zip(RIDGES, cosines, strict=True):
        scale, loss = _best_scale(np.concatenate(each).astype(np.float64), truth)
        fits.append(Fit(ridge, scale))
        losses.append(np.bincount(image, loss) / np.bincount(image))
    usual = losses[RIDGES.index(RIDGE)]
    gains = [usual - loss for loss in losses]
    best = int(np.argmax([gain.mean() for gain in gains]))
    error = gains[best].std() / math.sqrt(len(usual))
    return fits[best if gains[best].mean() > error else RIDGES.index(RIDGE)]


def _folds(views: Views) -> NDArray[np.int64]:
    """The fold of each view ``(n,)``, the same for all of an image; -1: in a class of one image."""
    folds = np.zeros(len(views.features), np.int64)
    for label in np.unique(views.labels):
        rows = views.labels == label
        mine = np.unique(views.images[rows])
        place = {image: rank % FOLDS if len(mine) > 1 else -1 for rank, image in enumerate(mine)}
        folds[rows] = [place[image] for image in views.images[rows]]
    return folds


def _best_scale(
    cosines: NDArray[np.float64], truth: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64]]:
    """The scale of least mean cross-entropy of cosines ``(n, K)``, and each row's own ``(n,)``."""

    def losses(scale: float) -> NDArray[np.float64]:
        each = -log_softmax(scale * cosines, axis=1)[np.arange(len(truth)), truth]
        return np.asarray(each)

    found = minimize_scalar(lambda s: losses(s).mean(), bounds=SCALES, method="bounded")
    return float(found.x), losses(float(found.x))
