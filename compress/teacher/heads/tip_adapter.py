"""Tip-Adapter (Zhang et al. 2021, arXiv 2111.03930): texts and a cache of the shots, untrained.

    z = scale f t^T + a exp(−b (1 − f K^T)) V

Keys K are the shots' features, a mean over views at unit length, and V their classes, one-hot. The
more an image looks like a shot, the more that shot's class gains. The cache adds up, so it weighs
more with more shots. Its strength is in units of logits, whatever the teacher's scale is.
"""

from __future__ import annotations

import numpy as np

from compress.teacher.answers import Answer, Cache
from compress.teacher.artifact import unit
from compress.teacher.heads.head import Fitted, Shots

# The best of the paper's ablation on ImageNet with 16 shots [P3]; its code searches both on
# validation images, which a user with a few shots does not have.
STRENGTH, SHARPNESS = 1.0, 5.5


def tip_adapter(shots: Shots) -> Fitted:
    """The head; closed form."""
    images, first, members = np.unique(shots.images, return_index=True, return_inverse=True)
    sums = np.zeros((len(images), shots.features.shape[1]))
    np.add.at(sums, members, shots.features)
    keys = unit(sums.astype(np.float32))
    values = STRENGTH * np.eye(len(shots.texts), dtype=np.float32)[shots.labels[first]]
    rows = (shots.scale * shots.texts).astype(np.float32)
    answer = Answer(rows, cache=Cache(keys, values.astype(np.float32), SHARPNESS))
    facts = {"keys": len(keys), "strength": STRENGTH, "sharpness": SHARPNESS}
    return Fitted(answer, shots.texts, facts)
