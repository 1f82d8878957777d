"""Engines by name. Each is one file; its engine is imported when a model is loaded, never
before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from runtime.errors import BackendError

TENSOR, PIXELS, IMAGE = "tensor", "pixels", "image"
"""What a model takes: normalized float32 (B, 3, S, S); cropped uint8 (B, S, S, 3); whole images,
uint8 (1, H, W, 3).
"""


class Runner(Protocol):
    """One loaded model: the shape that every engine has. An engine without ``takes`` takes
    ``TENSOR``.
    """

    provider: str
    threads: int
    versions: dict[str, str]
    outputs: tuple[str, ...]
    input_size: int | None  # S, None where the graph leaves it open

    def run(self, images: np.ndarray, output: str = "logits") -> np.ndarray:
        """``output`` (B, K) float32 of normalized images (B, 3, S, S) float32."""
        ...

    def run_all(self, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """Several outputs of one pass."""
        ...


@dataclass(frozen=True)
class Backend:
    """An engine: where its loader lies and which of a bundle's models it takes."""

    module: str
    models: dict[str, str]  # precision asked for -> key in the manifest, where the two differ


BACKENDS: dict[str, Backend] = {
    "onnxruntime": Backend("runtime.backends.onnxruntime", {}),
    "tensorrt": Backend("runtime.backends.tensorrt", {"int8": "int8.trt"}),
}


def backend(name: str) -> Backend:
    """The row of ``name``.

    Raises:
        BackendError: unknown name.
    """
    if name not in BACKENDS:
        raise BackendError("unknown backend", got=repr(name), expected=", ".join(BACKENDS))
    return BACKENDS[name]


def load(name: str, model: Path, **options: Any) -> Runner:
    """Loads ``model`` with engine ``name``; see the engine's ``load`` for its options."""
    loader: Callable[..., Runner] = import_module(backend(name).module).load
    return loader(model, **options)
