"""A linear head in closed form: Fisher's discriminant with a ridge, of few images' views.

Each class is a Gaussian around its mean and all share one covariance, which the views of the shots
show. With one to eight shots it beats a logistic regression on the same features: twelve species of
flowers, EfficientNet-Lite0, five seeds: 69 / 83 / 91 / 93 % against 67 / 81 / 89 / 92 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from compress.teacher.artifact import unit

RIDGE = 1.0  # added to the covariance's diagonal, in mean variances
FOLDS = 4
SCALES = (1.0, 100.0)  # a scale lies between


def discriminant(
    features: NDArray[np.float32], labels: NDArray[np.int64], classes: int, ridge: float = RIDGE
) -> NDArray[np.float32]:
    """Unit rows ``(K, D)``: the class means, whitened by the covariance within classes.

    Args:
        features: ``(n, D)``, less their common mean.
        labels: ``(n,)``; a class without any gets a row of zeros.
    """
    rows = features.astype(np.float64)
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    means = np.zeros((classes, rows.shape[1]))
    np.add.at(means, labels, rows)
    means /= counts[:, None]
    within = rows - means[labels]
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


def held_out_scale(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    images: NDArray[np.int64],
    classes: int,
) -> float | None:
    """The scale of cosines at which their softmax is calibrated on images that were left out.

    Every image is left out once, with all its views: the fit on views that it was made from would
    be far too sure.

    Args:
        features: ``(n, D)`` unit rows, less their common mean.
        labels: ``(n,)``.
        images: the image of each view, ``(n,)``.

    Returns: the scale of least mean cross-entropy, None if no class has two images.
    """
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
            rows = discriminant(features[~tested], labels[~tested], classes)
            cosines.append(features[tested] @ rows.T)
            goals.append(labels[tested])
    if not cosines:
        return None
    scores = np.concatenate(cosines).astype(np.float64)
    truth = np.concatenate(goals)

    def loss(scale: float) -> float:
        return -float(log_softmax(scale * scores, axis=1)[np.arange(len(truth)), truth].mean())

    return float(minimize_scalar(loss, bounds=SCALES, method="bounded").x)
