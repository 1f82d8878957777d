"""A short Python program, the bundle, and clip2edge's device side: numpy, Pillow, onnxruntime."""

from __future__ import annotations

import shutil
from pathlib import Path

import runtime
from export.apps.parts import told
from export.apps.render import render
from export.apps.source import AppSource, Vendored
from export.bundle.folder import copy_bundle
from runtime.backends.onnxruntime import NEEDED


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes classify.py, requirements.txt, bundle/ and runtime/."""
    fill_python(source, folder, "python", golden=bool(source.golden))


def fill_python(source: AppSource, folder: Path, *templates: str, **values: object) -> None:
    """Copies bundle/ and runtime/ into ``folder`` and fills ``templates``, one over the other."""
    copy_bundle(source.bundle, folder / "bundle")
    root = Path(runtime.__file__).parent  # imports nothing else of clip2edge
    for file in sorted(root.rglob("*.py")):
        copy = folder / "runtime" / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    common = {**told(source), "engine": NEEDED}
    for template in templates:
        render(template, folder, {**common, **values})
