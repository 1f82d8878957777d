"""The shape that every engine has: a loaded model."""

from __future__ import annotations

import operator
import sys
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np

from runtime.errors import SHOWN, BackendError

LONGEST_REASON = 600  # characters of an engine's own message
TENSOR = "tensor"
PIXELS = "pixels"
IMAGE = "image"
"""What a model takes: normalized float32 (B, 3, S, S); cropped uint8 (B, S, S, 3); whole images,
uint8 (1, H, W, 3).
"""
TAKES = {"images": TENSOR, "pixel_values": TENSOR, "pixels": PIXELS, "image": IMAGE}
"""Name of a model's input -> what it takes; "pixel_values" is Hugging Face's name for images."""


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


class BatchRunner(Runner):
    """A runner whose engine takes one batch at a time; of a model with a fixed batch, that many."""

    takes: str = TENSOR
    fixed_batch: int | None = None

    def blank(self, size: int) -> np.ndarray:
        """The smallest batch of black images that the model takes, of edge ``size``."""
        count = self.fixed_batch or 1
        if self.takes == TENSOR:
            return np.zeros((count, 3, size, size), np.float32)
        return np.zeros((count, size, size, 3), np.uint8)

    def run_all(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Several outputs of one pass, each (B, K) float32; errors as ``run``."""
        require_outputs(outputs, self.outputs)
        step = self.fixed_batch or len(images)
        if len(images) % max(step, 1):
            expected = f"a multiple of {step}, which the model fixes"
            raise BackendError("batch", got=len(images), expected=expected)
        starts = range(0, len(images), step or 1)
        parts = [self._batch(images[start : start + step], outputs) for start in starts]
        columns = zip(*parts, strict=True)
        joined = [part[0] if len(part) == 1 else np.concatenate(part) for part in columns]
        return dict(zip(outputs, joined, strict=True))

    def _batch(self, images: np.ndarray, outputs: Sequence[str]) -> Sequence[np.ndarray]:
        """The outputs of one call; a BackendError if the engine refuses it."""
        raise NotImplementedError


def require_outputs(wanted: Sequence[str], present: Collection[str]) -> None:
    """Raises BackendError unless a model has all these outputs."""
    for output in wanted:
        if output not in present:
            raise BackendError(f"no output {output!r}", got=output, expected=", ".join(present))


def require_batch(images: np.ndarray, dtype: type, shape: Sequence[int | None]) -> None:
    """Raises BackendError unless images have a type and, but for the batch, a shape (None: open).

    For engines that read a buffer of another shape as if it had the right one.
    """
    fits = images.ndim == len(shape) + 1 and all(
        want in (None, size) for size, want in zip(images.shape[1:], shape, strict=True)
    )
    if not fits or images.dtype != dtype or not len(images):
        sizes = ", ".join("?" if size is None else str(size) for size in shape)
        got = f"{images.dtype} {images.shape}"
        raise BackendError("images", got=got, expected=f"{np.dtype(dtype)} (B, {sizes})")


def reason(error: Exception) -> str:
    """An engine's message on one line; of a long one the end, where the reason stands."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"... {text[-LONGEST_REASON:]}"


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
