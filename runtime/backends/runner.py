"""The shape that every engine has: a loaded model."""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from runtime.errors import SHOWN, BackendError

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


def finite(logits: np.ndarray, what: str = "logits") -> np.ndarray:
    """``logits`` as float32.

    Raises: BackendError: no real numbers, or a NaN or infinity among them: no answer, not class 0.
    """
    if not isinstance(logits, np.ndarray) or logits.dtype.kind not in "fiu":
        got = getattr(logits, "dtype", type(logits).__name__)
        raise BackendError(f"the model's {what} are no numbers", got=got, expected="float32")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite
        values = logits.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        bad = values.size - int(np.isfinite(values).sum())
        got = f"{bad} of {values.size} NaN or infinite"
        remedy = "python -m runtime verify BUNDLE says which model is right here; use that one"
        raise BackendError(f"{what} are not finite", got=got, remedy=remedy)
    return values


def whole_number(name: str, value: Any, most: int = sys.maxsize) -> int:
    """A number from 1 to ``most``, of any integer type.

    Raises: BackendError: anything else.
    """
    try:
        number = 0 if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or number > most < sys.maxsize:
        expected = "a whole number, 1 or more" if most == sys.maxsize else f"1..{most}"
        raise BackendError(name, got=repr(value)[:SHOWN], expected=expected)
    return min(number, most)
