"""A map of images: t-SNE of their features, from a fixed start, so that it comes out the same.

Van der Maaten & Hinton, Visualizing Data using t-SNE, JMLR 9, 2008; started from the principal
components, scaled down (Kobak & Berens, Nat. Commun. 10:5416, 2019). Exact, so for hundreds of
images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compress.evaluate.metrics import Floats

Map = NDArray[np.float64]
MOST_IMAGES = 300  # about 1 s
STEPS = 500
START_SPREAD = 1e-4
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
    from sklearn.manifold import TSNE

    spread = float(start[:, 0].std()) or 1.0
    model = TSNE(
        init=(start / spread * START_SPREAD).astype(np.float32),
        perplexity=min(PERPLEXITY, (len(rows) - 1) / 3),
        max_iter=STEPS,
        method="exact",
        random_state=0,
    )
    return np.asarray(model.fit_transform(rows.astype(np.float32)), np.float64)
