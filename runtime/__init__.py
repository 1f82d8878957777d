"""The device side of clip2edge: numpy, Pillow and one engine.

>>> from runtime import Classifier
>>> Classifier.load("bundle").predict("photo.jpg")  # doctest: +SKIP
[Prediction(label='water lily', index=3, probability=0.97), ...]
"""

from __future__ import annotations

from runtime.bench import latency
from runtime.bundle import Bundle, Label, open_bundle
from runtime.classifier import Classifier, Prediction
from runtime.errors import BackendError, BundleError, EdgeError, ImageError
from runtime.host import telemetry
from runtime.preprocess import Geometry, PreprocessSpec, decode, geometry, normalize

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "Classifier",
    "EdgeError",
    "Geometry",
    "ImageError",
    "Label",
    "Prediction",
    "PreprocessSpec",
    "decode",
    "geometry",
    "latency",
    "normalize",
    "open_bundle",
    "telemetry",
]
