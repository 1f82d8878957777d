"""The shape that every engine has: a loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

TENSOR = "tensor"
PIXELS = "pixels"
IMAGE = "image"
"""What a model takes: normalized float32 (B, 3, S, S); cropped uint8 (B, S, S, 3); whole images,
uint8 (1, H, W, 3).
"""


class Runner(Protocol):
    """One loaded model: the shape that every engine has.

    Optional attributes: ``takes`` (default ``TENSOR``), ``unit`` (default: the backend's),
    ``states`` (sentences about the load), ``kernels`` (kernel -> layers, if reported).
    """

    provider: str
    threads: int
    versions: dict[str, str]
    outputs: tuple[str, ...]
    input_size: int | None  # S, None where the graph leaves it open

    def run(self, images: np.ndarray, output: str = "logits") -> np.ndarray:
        """``output`` (B, K) float32 of normalized images (B, 3, S, S), or of what it ``takes``.

        Raises: BackendError: no such output, another shape, or the engine refuses the batch.
        """
        return self.run_all(images, (output,))[output]

    def run_all(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Several outputs of one pass, each (B, K) float32; errors as ``run``."""
        ...
