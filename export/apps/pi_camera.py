"""The Python app for the camera of a Raspberry Pi: steady labels from the start of the device."""

from __future__ import annotations

from pathlib import Path

from export.apps.python import fill_python
from export.apps.source import AppSource, Vendored
from runtime.stream.picamera import PACKAGE


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes the Python app, camera.py and a service of systemd."""
    fill_python(source, folder, "python", "pi-camera", package=PACKAGE, golden=bool(source.golden))
