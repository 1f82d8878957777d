"""A CLIP's space in small: features of shots, texts beside them, test images."""

from __future__ import annotations

import numpy as np

SCALE = 30.0


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def world(
    text_noise: float,
    shots: int,
    seed: int,
    spread: float = 1.0,
    classes: int = 20,
    width: int = 64,
) -> tuple[np.ndarray, ...]:
    """A CLIP space in small: class directions, images scattered around them, texts beside them with
    a modality gap.

    Returns the view features (8 views a shot), their labels, the text head, test features and test
    labels.
    """
    rng = np.random.default_rng(seed)
    centers, gap = rng.normal(size=(classes, width)), rng.normal(size=width) * 1.5
    text = unit(centers + gap + text_noise * rng.normal(size=centers.shape))
    labels, tests = np.repeat(np.arange(classes), shots), np.repeat(np.arange(classes), 20)

    def draw(of: np.ndarray, spread: float) -> np.ndarray:
        return of + spread * rng.normal(size=of.shape)

    shots_ = np.repeat(draw(centers[labels], spread), 8, axis=0)
    return (
        unit(draw(shots_, 0.4)),
        np.repeat(labels, 8),
        text,
        unit(draw(centers[tests], spread)),
        tests,
    )
