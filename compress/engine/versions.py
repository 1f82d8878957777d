"""Versions of what can change a result, read from package metadata: nothing is imported."""

from __future__ import annotations

import platform


def versions() -> dict[str, str]:
    """Versions of what can change a result, without importing any of it."""
    from importlib import metadata

    model = (
        "torch",
        "torchvision",
        "torchao",
        "open_clip_torch",
        "timm",
        "diffusers",
        "transformers",
    )
    packages = ("clip2edge", *model, "onnx", "onnxruntime", "onnxscript", "numpy", "pillow")
    out = {"python": platform.python_version()}
    for package in packages:
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            out[package] = "not installed"
    return out
