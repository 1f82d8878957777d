"""Labels that a teacher's features doubt, and images that are like no other of their class.

Features are centered on the mean of the class means, since what all images share tells nothing, and
compared by their cosine. An image takes no part in the mean of its own class (leave one out), so a
class with a single image says nothing about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.evaluate.metrics import Floats, Ints

FAR = 3.5  # modified z-score of an outlier: Iglewicz & Hoaglin, How to Detect Outliers, 1993
LEAST_DISTANCE = 0.5  # of an outlier: in a tight class small differences are many deviations
MAD_TO_SIGMA = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Doubt:
    """An image that is nearer to the mean of another class; ``margin`` of cosines, above 0."""

    row: int
    nearest: int
    margin: float


@dataclass(frozen=True)
class Outlier:
    """An image far from the mean of its class: ``1 - cos``."""

    row: int
    distance: float


def doubts_and_outliers(features: Floats, labels: Ints) -> tuple[list[Doubt], list[Outlier]]:
    """Both of images with features (N, D) and classes (N,), the clearest first."""
    known = np.unique(labels)
    counts = np.array([(labels == k).sum() for k in known])
    if len(known) < 2:
        return [], []
    wide = features.astype(np.float64)
    center = np.stack([wide[labels == k].mean(axis=0) for k in known]).mean(axis=0)
    rows = _unit(wide - center)
    sums = np.stack([rows[labels == k].sum(axis=0) for k in known])
    own = np.searchsorted(known, labels)
    to_means = rows @ _unit(sums).T
    to_own = (rows * _unit(sums[own] - rows)).sum(axis=1)
    judged = counts[own] > 1
    to_means[np.arange(len(rows)), own] = -np.inf
    margins = np.round(to_means.max(axis=1) - to_own, 6)
    nearest = known[to_means.argmax(axis=1)]
    doubts = [
        Doubt(int(i), int(nearest[i]), float(margins[i]))
        for i in np.argsort(-margins, kind="stable")
        if judged[i] and margins[i] > 0
    ]
    return doubts, _outliers(np.round(1 - to_own, 6), judged)


def _outliers(distances: NDArray[np.float64], judged: NDArray[np.bool_]) -> list[Outlier]:
    if not judged.any():
        return []
    middle = np.median(distances[judged])
    spread = MAD_TO_SIGMA * np.median(np.abs(distances[judged] - middle))
    return [
        Outlier(int(i), float(distances[i]))
        for i in np.argsort(-distances, kind="stable")
        if judged[i] and distances[i] > max(middle + FAR * spread, LEAST_DISTANCE)
    ]


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    out: NDArray[np.float64] = rows / np.maximum(lengths, 1e-12)
    return out
