"""The device side of clip2edge: numpy, Pillow and one engine.

>>> from runtime import Classifier
>>> Classifier.load("bundle").predict("photo.jpg")  # doctest: +SKIP
[Prediction(label='water lily', index=3, probability=0.97), ...]
"""

# ruff: noqa: F401 (type checkers and editors read the imports below; _HOMES serves the program)
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.bench import latency
    from runtime.bundle import Bundle, Label, open_bundle
    from runtime.classifier import Classifier, Prediction
    from runtime.errors import BackendError, BundleError, EdgeError, ImageError
    from runtime.host import telemetry
    from runtime.preprocess import Geometry, PreprocessSpec, decode, geometry, normalize

_HOMES = {
    "runtime.bundle": ("Bundle", "Label", "open_bundle"),
    "runtime.classifier": ("Classifier", "Prediction"),
    "runtime.errors": ("BackendError", "BundleError", "EdgeError", "ImageError"),
    "runtime.preprocess": ("Geometry", "PreprocessSpec", "decode", "geometry", "normalize"),
    "runtime.bench.latency": ("latency",),
    "runtime.host.telemetry": ("telemetry",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    """Loads a public name on first use, so that `runtime.errors` alone needs no numpy."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'runtime' has no attribute {name!r}")
    module = import_module(_HOME_OF[name])
    return getattr(module, name, module)
