"""A new class's logit from the features of a few photos, comparable with those of trained classes.

A head that was trained on features f gives a class k nearly the logit ``scale * f·(p_k - m_k)``:
p_k is the class's prototype, the unit mean of its features, m_k the mean prototype of all other
classes, which takes away what all photos have in common (twelve flowers: 91 * f·(p_k - m_k) is
within 4 of logits that spread by 9). So a new class has

    logit = scale * f·w + offset,   w = p - m

with the scale of the old classes, and a small offset by how clearly its photos win, each by the
prototype of the others (``offset_from``). The scale is measured when the bundle is built, on photos
that it was trained on (``export.confidence``): their logits and their cosines are both larger than
those of new photos, the ratio is not. Bundles of before have no such figure; there it follows from
the means of the largest logit and of the largest cosine on the images that the threshold was set
on. ``benchmarks/add_class.py`` compares such classes with trained ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.files.confidence import CONFIDENCE, row_of

LEAST_NORM = 1e-12
# Cosines, chosen on twelve flowers: the best new class where the old ones lose less than a point.
AIM, MOST = 0.04, 0.01
DIGITS = 6  # of what is stored: last bits differ between processors


@dataclass(frozen=True, eq=False)
class Answers:
    """A model's answers to photos: logits (N, K) of the classes that it has, features (N, D)."""

    logits: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.logits)


def prototypes_of(features: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Unit rows (classes, D) float32: the mean of each class's features, as float16 holds it."""
    rows = np.zeros((classes, features.shape[1]), np.float64)
    np.add.at(rows, labels, features)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(norms, LEAST_NORM)).astype(np.float16).astype(np.float32)


def centered(prototypes: np.ndarray) -> np.ndarray:
    """Rows w (K, D) float64: each prototype less the mean of all others; of a lone one, itself."""
    every = prototypes.astype(np.float64)
    others = max(len(every) - 1, 1)
    return np.asarray(every - (every.sum(axis=0) - every) / others)


def scale_from(
    logits: np.ndarray, features: np.ndarray, labels: np.ndarray, prototypes: np.ndarray
) -> float:
    """The scale of a model's classes, by photos of them: logits (N, K), features (N, D).

    Not finite where the cosines say nothing, as with one class.
    """
    own = np.arange(len(labels)), labels
    cosines = (features.astype(np.float64) @ centered(prototypes).T)[own]
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(logits.astype(np.float64)[own].sum() / cosines.sum())


def scale_of(manifest: Mapping[str, Any], model: str, prototypes: np.ndarray) -> float | None:
    """The scale of a bundle's model, measured or from its scores' means; None without both."""
    part = manifest.get(CONFIDENCE, {})
    measured = row_of(part.get("classes", {}).get("models", {}), model, None)
    if measured is not None:
        return float(measured["scale"])
    row = row_of(part.get("rejection", {}).get("models", {}), model, None) or {}
    scales = row.get("scales", {})
    if "max_logit" not in scales or "prototype" not in scales:
        return None
    every = prototypes.astype(np.float64)
    own = (every * centered(every)).sum(axis=1).mean()  # f·w of a photo that is its prototype
    return float(scales["max_logit"][0] / (scales["prototype"][0] * own))


def rounded(value: float) -> float:
    """``value`` as a manifest holds it."""
    return float(f"{value:.{DIGITS}g}")


def margins(
    answers: Answers, labels: np.ndarray, photos: np.ndarray, known: np.ndarray, scale: float
) -> list[np.ndarray]:
    """By how much each photo's own new class wins, in logits, by the prototype of its other photos.

    Args:
        answers: to views (N) of the photos ``photos (N,)`` of the new classes ``labels (N,)``.
        known: prototypes (K, D) of the old classes.

    Returns: for each new class a row of its photos; an empty one for a class of one photo.
    """
    classes = int(labels.max()) + 1
    found: list[list[float]] = [[] for _ in range(classes)]
    for photo in np.unique(photos):
        seen = photos == photo
        label = int(labels[seen][0])
        if not ((labels == label) & ~seen).any():
            continue
        rows = prototypes_of(answers.features[~seen], labels[~seen], classes)
        new = centered(np.concatenate([known, rows]))[len(known) :]
        at = int(np.flatnonzero(seen)[0])  # its first view: as a device sees it
        scores = scale * (answers.features[at].astype(np.float64) @ new.T)
        best = max(answers.logits[at].max(), np.delete(scores, label).max(initial=-np.inf))
        found[label].append(float(scores[label] - best))
    return [np.array(one) for one in found]


def offset_from(won_by: np.ndarray, scale: float) -> float:
    """The offset of a class whose photos win by these margins, in logits; 0 without any.

    A class that wins clearly needs no help; one that an old class resembles gets a little. The aim
    is a margin that is ``AIM`` cosines above zero one deviation below its mean.
    """
    if not len(won_by):
        return 0.0
    low = float(won_by.mean() - won_by.std()) / scale
    return scale * min(max(AIM - low, 0.0), MOST)
