"""A folder with ten lines of Python, the bundle, and the device side of clip2edge: numpy, Pillow
and onnxruntime.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import runtime
from export.apps.render import markdown_text, render
from export.apps.source import AppSource, Vendored
from runtime.bundle import MANIFEST


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes classify.py, requirements.txt, bundle/ and runtime/."""
    copy_bundle(source, folder / "bundle")
    copy_runtime(folder / "runtime")
    values = {
        "title": markdown_text(source.title),
        "labels": len(source.labels),
        "precision": source.precision,
        "golden": bool(source.golden),
    }
    render("python", folder, values)


def copy_bundle(source: AppSource, folder: Path) -> None:
    """The bundle's manifest and the files it lists, nothing else that may lie beside them."""
    for name in sorted([*source.bundle.manifest["files"], MANIFEST]):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.bundle.path / name, target)


def copy_runtime(folder: Path) -> None:
    """The package ``runtime``: it imports nothing else of clip2edge, so a device needs no more than
    its files.
    """
    root = Path(runtime.__file__).parent
    for file in sorted(root.rglob("*.py")):
        target = folder / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
