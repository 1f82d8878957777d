"""Does an image show one of the classes at all? Scores of logits and features, and a threshold.

A higher score speaks for a known image. Which score a bundle uses, and its threshold, were chosen
when it was built, on images that are neither shots nor test images (export/confidence).

    max_logit   the largest logit
    energy      log Σ_k exp z_k (Liu et al., NeurIPS 2020, arXiv 2010.03759)
    prototype   the largest cosine of the features with the prototype of a class
    combined    the mean of the three, each centered and divided by its spread on wanted images
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from runtime.errors import BackendError

COMBINED = "combined"
PROTOTYPE = "prototype"


@dataclass(frozen=True, eq=False)
class Scored:
    """What scores are computed from."""

    logits: np.ndarray  # (B, K)
    features: np.ndarray | None  # unit rows (B, D)
    prototypes: np.ndarray | None  # unit rows (K, D)


def max_logit(of: Scored) -> np.ndarray:
    """(B,)."""
    return np.asarray(of.logits.max(axis=1), np.float64)


def energy(of: Scored) -> np.ndarray:
    """(B,)."""
    logits = of.logits.astype(np.float64)
    top = logits.max(axis=1)
    return np.asarray(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)))


def prototype(of: Scored) -> np.ndarray:
    """(B,)."""
    if of.features is None or of.prototypes is None:
        raise BackendError("this score needs features and prototypes", got="logits alone")
    if of.features.shape[1:] != of.prototypes.shape[1:]:
        got, expected = f"(B, {of.features.shape[1]})", f"(B, {of.prototypes.shape[1]})"
        raise BackendError("features do not fit the prototypes", got=got, expected=expected)
    # In double precision, whose last bits depend on threads and batches too, but reach no figure.
    cosines = of.features.astype(np.float64) @ of.prototypes.astype(np.float64).T
    return np.asarray(cosines.max(axis=1))


PARTS: Mapping[str, Callable[[Scored], np.ndarray]] = {
    "max_logit": max_logit,
    "energy": energy,
    PROTOTYPE: prototype,
}
SCORES = (*PARTS, COMBINED)


def scores(
    name: str,
    logits: np.ndarray,
    features: np.ndarray | None = None,
    prototypes: np.ndarray | None = None,
    scales: Mapping[str, tuple[float, float]] | None = None,
) -> np.ndarray:
    """The scores (B,) float64 of images; a higher one speaks for a known image.

    Args:
        name: one of ``SCORES``.
        logits: (B, K).
        features: (B, D), for a score that ``needs_features``.
        prototypes: (K, D).
        scales: part -> mean and standard deviation on wanted images, for ``combined``.
    """
    of = Scored(logits, features, prototypes)
    if name != COMBINED:
        return PARTS[name](of)
    table = dict(scales or {})
    parts = [(PARTS[part](of) - mean) / spread for part, (mean, spread) in table.items()]
    return np.asarray(np.mean(parts, axis=0))


def needs_features(name: str) -> bool:
    """Whether a score reads features and prototypes."""
    return name in (PROTOTYPE, COMBINED)


@dataclass(frozen=True, eq=False)
class Rejection:
    """How a model of a bundle tells images that show none of its classes."""

    score: str  # one of SCORES
    threshold: float  # an image below it is not known
    keep: float  # share of wanted images that the threshold was set to keep
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    prototypes: np.ndarray | None = field(default=None, repr=False)  # (K, D) unit rows

    @property
    def needs_features(self) -> bool:
        """Whether the features of an image take part."""
        return needs_features(self.score)

    def scores(self, logits: np.ndarray, features: np.ndarray | None = None) -> np.ndarray:
        """The scores (B,) of logits (B, K) and features (B, D)."""
        if not len(logits):
            return np.empty(0)
        return scores(self.score, logits, features, self.prototypes, self.scales)

    def known(self, logits: np.ndarray, features: np.ndarray | None = None) -> np.ndarray:
        """Whether images show one of the classes, (B,) bool."""
        return np.asarray(self.scores(logits, features) >= self.threshold)
