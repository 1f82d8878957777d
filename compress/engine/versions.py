"""Versions of what can change a result, read from package metadata: nothing is imported."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = (
    "clip2edge torch torchvision torchao open_clip_torch timm diffusers transformers "
    "onnx onnxruntime onnxscript numpy pillow"
)


def versions() -> dict[str, str]:
    """Package -> version, with python's own."""
    out = {"python": platform.python_version()}
    for package in PACKAGES.split():
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            out[package] = "not installed"
    return out
