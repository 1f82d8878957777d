"""A container for Jetson (JetPack 6): runtime, bundle, and the base image's TensorRT."""

from __future__ import annotations

from pathlib import Path

from export.apps.python import fill_python
from export.apps.source import AppSource, Vendored

# in NVIDIA's NGC catalog; JetPack 6.1: Ubuntu 22.04, Python 3.10, CUDA 12.6, TensorRT 10.3
BASE = "nvidia/l4t-jetpack:r36.4.0"


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes the Dockerfile, bundle/, runtime/ and an empty folder for wheels."""
    models = sorted({*source.bundle.models, *source.bundle.targets})
    fill_python(source, folder, "jetson", base=BASE, models=models)
