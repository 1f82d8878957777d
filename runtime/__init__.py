"""The device side of clip2edge: numpy, Pillow and one engine.

>>> from runtime import Classifier
>>> Classifier.load("bundle").predict("photo.jpg")  # doctest: +SKIP
[Prediction(label='water lily', index=3, probability=0.97), ...]
"""

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
    from runtime.stream import Stream

__all__ = ["BackendError", "BundleError", "EdgeError", "ImageError"]
__all__ += ["Bundle", "Classifier", "Label", "Prediction", "open_bundle", "latency", "telemetry"]
__all__ += ["Geometry", "PreprocessSpec", "Stream", "decode", "geometry", "normalize"]
_HOMES = {
    "bundle": ("Bundle", "Label", "open_bundle"),
    "classifier": ("Classifier", "Prediction"),
    "errors": ("BackendError", "BundleError", "EdgeError", "ImageError"),
    "preprocess": ("Geometry", "PreprocessSpec", "decode", "geometry", "normalize"),
    "stream": ("Stream",),
}
_RENAMED = {"normalise": "normalize"}  # old names, still understood
_MODULES = {"latency": "bench.latency", "telemetry": "host.telemetry"}


def __getattr__(name: str) -> Any:
    """Loads a public name or a submodule on first use: ``runtime.errors`` needs no numpy."""
    name = _RENAMED.get(name, name)
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is not None:
        return getattr(import_module(f"runtime.{home}"), name)
    path = f"runtime.{_MODULES.get(name, name)}"
    try:
        return import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        raise AttributeError(f"module 'runtime' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
