"""Normalization: pixels -> the model's input, rounded once, by a table of 256 values a channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from runtime.errors import SHOWN, BundleError, ImageError
from runtime.preprocess.resize import Geometry


@dataclass(frozen=True)
class PreprocessSpec(Geometry):
    """How pixels become the model's input; a value out of range raises a BundleError."""

    mean: tuple[float, float, float]  # R, G, B, of values in [0, 1]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "mean", _triple("mean", self.mean, low=-10.0))
        object.__setattr__(self, "std", _triple("std", self.std, low=1e-6))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that ``from_json`` reads back to an equal spec."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, values: object) -> PreprocessSpec:
        """Reads the object that ``to_json`` wrote.

        Raises: BundleError: a field that is missing, unknown or out of range.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping):
            expected = f"an object with {', '.join(names)}"
            raise BundleError("preprocess", got=type(values).__name__, expected=expected)
        if set(values) != set(names):
            got = repr(sorted(map(str, values)))[:SHOWN]
            raise BundleError("preprocess fields", got=got, expected=sorted(names))
        return cls(**values)


def _triple(name: str, values: Any, low: float) -> tuple[float, float, float]:
    is_three = isinstance(values, (list, tuple)) and len(values) == 3
    if not is_three or not all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and low <= v <= 10.0 for v in values
    ):
        expected = f"three numbers in {low:g}..10"
        raise BundleError(f"preprocess {name}", got=repr(values)[:SHOWN], expected=expected)
    red, green, blue = (float(v) for v in values)
    return red, green, blue


def normalize(pixels: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    """float32 (B, 3, S, S) from uint8 (B, S, S, 3) or (S, S, 3): (pixel / 255 - mean) / std.

    Raises: ImageError: another shape or type.
    """
    batch = pixels[None] if isinstance(pixels, np.ndarray) and pixels.ndim == 3 else pixels
    require_pixels(batch, spec)
    table = _table(spec.mean, spec.std)
    out = np.empty((len(batch), 3, spec.size, spec.size), np.float32)
    for index in range(len(batch)):
        for channel in range(3):  # mode "clip" saves np.take a copy
            values = batch[index, ..., channel]
            np.take(table[channel], values, out=out[index, channel], mode="clip")
    return out


def require_pixels(pixels: object, spec: Geometry) -> None:
    """Raises an ImageError unless it is uint8 (B, S, S, 3)."""
    shape = getattr(pixels, "shape", ())
    is_array = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8
    if not is_array or len(shape) != 4 or shape[1:] != (spec.size, spec.size, 3):
        got = f"{getattr(pixels, 'dtype', type(pixels).__name__)} {shape or ''}".strip()
        expected = f"uint8 (B, {spec.size}, {spec.size}, 3)"
        raise ImageError("pixels", got=got, expected=expected)


@lru_cache(maxsize=8)
def _table(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Normalized value of each channel and byte, float32 (3, 256)."""
    unit = np.arange(256, dtype=np.float64) / 255.0
    return ((unit - np.array(mean)[:, None]) / np.array(std)[:, None]).astype(np.float32)
