"""Apps that embed the student: one folder per target, from a bundle alone; its bytes repeat.

A target is a row of ``TARGETS``: a file of this package that fills a folder, and plain files in
``templates/<target>/``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compress.engine.disk import require_folder
from compress.engine.errors import ConfigError, lookup
from compress.engine.text import user_path
from export.apps import android, cpp, jetson, microcontroller, pi_camera, python, triton, web
from export.apps.source import AppSource, Vendored, read_source
from export.bundle.folder import require_empty, scratch_beside


@dataclass(frozen=True)
class AppTarget:
    """One kind of app."""

    fill: Callable[[AppSource, Path, Vendored], None]  # writes the app into an empty folder
    says: str  # what it is, in a few words
    start: str  # what to type in the folder
    vendors: frozenset[str] = frozenset()  # options: folders of other projects that it takes in
    formats: tuple[str, ...] = (".onnx",)  # of the model's file, the best first


TARGETS: dict[str, AppTarget] = {
    "python": AppTarget(
        python.fill,
        "a short Python program",
        "pip install -r requirements.txt; python classify.py PHOTO",
    ),
    "web": AppTarget(
        web.fill,
        "a static page: file, drag and drop, webcam",
        "npm install && npm run ort (not after --ort); python3 -m http.server 8000",
        frozenset({"ort"}),
    ),
    "cpp": AppTarget(
        cpp.fill,
        "C++17 on onnxruntime",
        "cmake -S . -B build -DONNXRUNTIME_ROOT=/path/to/onnxruntime; cmake --build build",
    ),
    "triton": AppTarget(
        triton.fill, "a Triton model repository", "tritonserver --model-repository=model_repository"
    ),
    "jetson": AppTarget(
        jetson.fill,
        "a container for JetPack 6",
        "docker build --build-arg BASE=... -t classifier .",
    ),
    "pi-camera": AppTarget(
        pi_camera.fill,
        "a Raspberry Pi camera that says what it sees",
        "python camera.py, on the device; README.md says what to install there",
    ),
    "android": AppTarget(
        android.fill,
        "an Android project",
        "open the folder in Android Studio; or gradle :core:test :app:installDebug",
        formats=tuple(android.ENGINES),
    ),
    "microcontroller": AppTarget(
        microcontroller.fill,
        "C++17 on TensorFlow Lite Micro",
        "add the sources to a project that has TensorFlow Lite Micro, as README.md says",
        formats=(".tflite",),
    ),
}


def write_app(
    bundle: str | Path,
    target: str,
    out: str | Path,
    precision: str = "auto",
    ort: Path | None = None,
) -> Path:
    """Writes the app ``target`` of ``bundle`` into the new or empty folder ``out`` and returns it.

    Args:
        bundle: every file is verified first.
        out: appears when the app is complete.
        precision: model of the bundle that the app runs; "auto" is the bundle's default, in the
            format that the target likes best.
        ort: a local folder of the npm package onnxruntime-web, for targets that can take it in.

    Raises:
        ConfigError: an unknown target, or ``ort`` for a target that has no use for it.
        ExportError: ``out`` is not empty, or the bundle lacks what the app needs.
        BundleError: a damaged bundle, or no such model.
    """
    row = lookup(TARGETS, target, "target of the app")
    vendored = {name: folder for name, folder in {"ort": ort}.items() if folder is not None}
    for name in sorted(set(vendored) - row.vendors):
        users = [key for key, other in TARGETS.items() if name in other.vendors]
        raise ConfigError(f"--{name} with target {target}", expected=f"target {' or '.join(users)}")
    folder = Path(os.path.realpath(user_path(out)))
    require_empty(folder)
    require_folder(folder.parent)
    source = read_source(bundle, precision, row.formats)
    with scratch_beside(folder) as scratch:
        whole = scratch / "whole"
        whole.mkdir()
        row.fill(source, whole, vendored)
        os.replace(whole, folder)
    return folder
