"""Which score tells the classes' images from others, and its threshold: chosen by measurement.

Every score is compared on the same wanted images and on five kinds of others: those of
``export/confidence/outliers.py``, and the wanted images of each class to a classifier without that
class (its logit and its prototype are taken away), which stand for photos of similar things. The
score with the largest mean AUROC over the kinds wins; the threshold keeps a stated share of the
wanted images. No test image takes part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.evaluate.detection import auroc, threshold_for
from runtime.learning.calibration import Answers
from runtime.rejection import COMBINED, PARTS, PROTOTYPE, SCORES, needs_features, scores

Floats = NDArray[np.float32]
LEFT_OUT = "left_out"
LEAST_CLASSES = 3  # that leave a choice when one is taken away
TIE = 0.002  # of a mean AUROC: below it the simpler score, which is listed first, is chosen
DIGITS = 6  # of what is stored: last bits differ between processors

Scales = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Judged:
    """One model: mean AUROC over its kinds by score, each kind's, scales, wanted scores."""

    auroc: Mapping[str, Mapping[str, float]]  # score -> kind -> AUROC
    scales: Scales
    wanted: Mapping[str, NDArray[np.float64]]

    def mean(self, score: str) -> float:
        """The mean AUROC of a score over all kinds."""
        return float(np.mean(list(self.auroc[score].values())))


def judge(
    wanted: Answers,
    labels: NDArray[np.int64],
    others: Mapping[str, Answers],
    prototypes: Floats | None,
) -> Judged:
    """Compares the scores of one model.

    Args:
        wanted: answers to images of the classes ``labels (N,)``.
        others: kind -> answers to images of no class.
        prototypes: unit rows ``(K, D)``; None: scores of logits alone are compared.
    """
    possible = [name for name in SCORES if prototypes is not None or not needs_features(name)]
    scales: Scales = {}
    for part in PARTS:
        if part in possible:
            values = scores(part, wanted.logits, wanted.features, prototypes)
            scales[part] = (_rounded(values.mean()), _rounded(max(float(values.std()), 1e-6)))
    table: dict[str, dict[str, float]] = {}
    ours: dict[str, NDArray[np.float64]] = {}
    for name in possible:
        ours[name] = scores(name, wanted.logits, wanted.features, prototypes, scales)
        table[name] = {
            kind: auroc(
                ours[name], scores(name, answers.logits, answers.features, prototypes, scales)
            )
            for kind, answers in others.items()
        }
        if wanted.logits.shape[1] >= LEAST_CLASSES:
            left = without_own_class(name, wanted, labels, prototypes, scales)
            table[name][LEFT_OUT] = auroc(ours[name], left)
    return Judged(table, scales, ours)


def judge_left_one_out(
    own: Floats,
    labels: NDArray[np.int64],
    images: NDArray[np.int64],
    others: Mapping[str, Answers],
    prototypes: Floats,
) -> Judged:
    """The prototype score alone, of training images: each by the prototypes of the others.

    Logits of images that the student learned from are larger than those of new ones, so a
    threshold on them would lose wanted images.

    Args:
        own: unit features ``(N, D)`` of views of the images ``images (N,)``.
    """
    ours = left_one_out(own, labels, images, len(prototypes))
    logits = np.zeros((len(own), len(prototypes)), np.float32)  # of which this score reads none
    answers = Answers(logits, own)
    table = {
        kind: auroc(ours, scores(PROTOTYPE, found.logits, found.features, prototypes))
        for kind, found in others.items()
    }
    if len(prototypes) >= LEAST_CLASSES:
        left = without_own_class(PROTOTYPE, answers, labels, prototypes, {})
        table[LEFT_OUT] = auroc(ours, left)
    return Judged({PROTOTYPE: table}, {}, {PROTOTYPE: ours})


def left_one_out(
    features: Floats, labels: NDArray[np.int64], images: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """The largest cosine ``(N,)`` of each view with prototypes made without its image."""
    sums = np.zeros((classes, features.shape[1]), np.float64)
    np.add.at(sums, labels, features)
    out = np.empty(len(features))
    for image in np.unique(images):
        rows = images == image
        less = sums.copy()
        np.subtract.at(less, labels[rows], features[rows])
        norms = np.maximum(np.linalg.norm(less, axis=1, keepdims=True), 1e-12)
        out[rows] = (features[rows] @ (less / norms).T).max(axis=1)
    return out


def without_own_class(
    name: str,
    answers: Answers,
    labels: NDArray[np.int64],
    prototypes: Floats | None,
    scales: Scales,
) -> NDArray[np.float64]:
    """Scores ``(N,)`` of images to a classifier that lacks the class of each."""
    out = np.empty(len(answers))
    for label in np.unique(labels):
        rows = labels == label
        fewer = None if prototypes is None else np.delete(prototypes, label, 0)
        logits = np.delete(answers.logits[rows], label, 1)
        out[rows] = scores(name, logits, answers.features[rows], fewer, scales)
    return out


def choose(models: Mapping[str, Judged]) -> str:
    """The score with the largest mean AUROC over all models and kinds; of a tie the first."""
    names = list(next(iter(models.values())).auroc)
    means = {name: float(np.mean([one.mean(name) for one in models.values()])) for name in names}
    best = max(means.values())
    return next(name for name in names if means[name] >= best - TIE)


def threshold(judged: Judged, score: str, keep: float) -> float:
    """The score that a share ``keep`` of the wanted images reaches."""
    return _rounded(threshold_for(judged.wanted[score], keep))


def used_scales(judged: Judged, score: str) -> Scales:
    """The scales that a score reads."""
    return judged.scales if score == COMBINED else {}


def _rounded(value: float) -> float:
    return float(f"{float(value):.{DIGITS}g}")
