"""A map of images: t-SNE of their features, from a fixed start, so that it comes out the same.

Van der Maaten & Hinton, Visualizing Data using t-SNE, JMLR 9, 2008; started from the principal
components (Kobak & Berens, Nat. Commun. 10:5416, 2019). Exact, so for hundreds of images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compress.evaluate.metrics import Floats

Map = NDArray[np.float64]
MOST_IMAGES = 300  # about 1 s
STEPS, EARLY_STEPS = 400, 100
EXAGGERATION = 12.0  # of the affinities in the early steps
PERPLEXITY = 30.0  # effective number of neighbors; of fewer than 90 images a third


def map_of(features: Floats) -> Map:
    """Places (N, 2) of features (N, D), in [0, 1] of the longer side; their shape is kept."""
    wide = features.astype(np.float64)
    rows = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    start = _principal(rows)
    places = start if len(rows) < 5 else _tsne(rows, start)
    low, high = places.min(axis=0), places.max(axis=0)
    longest = float((high - low).max()) or 1.0
    fitted: Map = 0.5 + (places - (low + high) / 2) / longest
    return fitted.round(4)


def _principal(rows: Map) -> Map:
    """The first two principal components; the largest weight of each is positive."""
    centered = rows - rows.mean(axis=0)
    left, sizes, axes = np.linalg.svd(centered, full_matrices=False)
    places = np.zeros((len(rows), 2))
    for k in range(min(2, len(sizes))):
        sign = np.sign(axes[k, np.abs(axes[k]).argmax()]) or 1.0
        places[:, k] = sign * left[:, k] * sizes[k]
    return places.round(6)


def _tsne(rows: Map, start: Map) -> Map:
    affinities = _affinities(rows, min(PERPLEXITY, (len(rows) - 1) / 3))
    places = start / (float(start[:, 0].std()) or 1.0) * 1e-2
    speed = np.zeros_like(places)
    gains = np.ones_like(places)
    rate = max(len(rows) / EXAGGERATION, 10.0)
    for step in range(STEPS):
        early = step < EARLY_STEPS
        squares = (places**2).sum(axis=1)
        kernel = 1 / (1 + np.maximum(squares[:, None] + squares - 2 * places @ places.T, 0))
        np.fill_diagonal(kernel, 0.0)
        pull = affinities * (EXAGGERATION if early else 1.0) - kernel / kernel.sum()
        forces = pull * kernel
        slope = 4 * (forces.sum(axis=1, keepdims=True) * places - forces @ places)
        gains = np.maximum(np.where(slope * speed < 0, gains + 0.2, gains * 0.8), 0.01)
        speed = (0.5 if early else 0.8) * speed - rate * gains * slope
        places = places + speed
    return places


def _affinities(rows: Map, perplexity: float) -> Map:
    """Symmetric neighbor probabilities (N, N): of each row a Gaussian of the given perplexity."""
    distances = np.maximum(2 - 2 * (rows @ rows.T), 0).round(6)
    np.fill_diagonal(distances, np.inf)
    low = np.zeros(len(rows))
    high = np.full(len(rows), np.inf)
    sharpness = np.ones(len(rows))
    nearest = distances.min(axis=1, keepdims=True)
    for _ in range(60):
        weights = np.exp(-(distances - nearest) * sharpness[:, None])
        shares = weights / weights.sum(axis=1, keepdims=True)
        bits = -(shares * np.log2(np.maximum(shares, 1e-300))).sum(axis=1)
        wide = bits > np.log2(perplexity)
        low = np.where(wide, sharpness, low)
        high = np.where(wide, high, sharpness)
        sharpness = np.where(np.isinf(high), sharpness * 2, (low + high) / 2)
    symmetric: Map = (shares + shares.T) / (2 * len(rows))
    return symmetric
