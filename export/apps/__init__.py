"""Apps that embed the student: one folder per target, made from a bundle and nothing else; the same
bundle gives the same bytes.

A target is a row of ``TARGETS``: a file of this package that fills a folder, and plain files in
    ``templates/<target>/``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compress.engine.errors import ConfigError, ExportError, nearest
from export.apps import cpp, jetson, python, triton, web
from export.apps.source import AppSource, Vendored, read_source


@dataclass(frozen=True)
class Target:
    """One kind of app.

    Attributes:
        fill: writes the app into an empty folder.
        says: what it is, in a few words.
        start: what to type in the folder.
        vendors: which folders of other projects it can take in, by option name.
    """

    fill: Callable[[AppSource, Path, Vendored], None]
    says: str
    start: str
    vendors: frozenset[str] = frozenset()


TARGETS: dict[str, Target] = {
    "python": Target(
        python.fill,
        "ten lines of Python",
        "pip install -r requirements.txt; python classify.py PHOTO",
    ),
    "web": Target(
        web.fill,
        "a static page: file, drag and drop, webcam",
        "npm install && npm run ort (not after --ort); python3 -m http.server 8000",
        frozenset({"ort"}),
    ),
    "cpp": Target(cpp.fill, "C++17 on onnxruntime", "cmake -S . -B build; cmake --build build"),
    "triton": Target(
        triton.fill, "a Triton model repository", "tritonserver --model-repository=model_repository"
    ),
    "jetson": Target(
        jetson.fill,
        "a container for JetPack 6",
        "docker build --build-arg BASE=... -t classifier .",
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

    The folder is filled beside ``out`` and moved into place when it is complete.

    Args:
        bundle: folder of a bundle; every file is verified first.
        target: a row of ``TARGETS``.
        out: where the app goes.
        precision: model of the bundle that the app runs; "auto" is the bundle's default.
        ort: a local folder of the npm package onnxruntime-web, for targets that can take it in.

    Raises:
        ConfigError: an unknown target, or ``ort`` for a target that has no use for it.
        ExportError: ``out`` is not empty, or the bundle lacks what the app needs.
        BundleError: a damaged bundle, or no such model.
    """
    if target not in TARGETS:
        raise ConfigError("target of the app", got=repr(target), remedy=nearest(target, TARGETS))
    row = TARGETS[target]
    vendored = {name: folder for name, folder in {"ort": ort}.items() if folder is not None}
    for name in sorted(set(vendored) - row.vendors):
        users = [key for key, other in TARGETS.items() if name in other.vendors]
        raise ConfigError(f"--{name} with target {target}", expected=f"target {' or '.join(users)}")
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(
            f"{folder} is not empty",
            expected="a new folder",
            remedy="remove it or choose another name",
        )
    source = read_source(bundle, precision)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        scratch.chmod(0o755)  # mkdtemp makes it private; an app is to be served
        row.fill(source, scratch, vendored)
        os.replace(scratch, folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return folder
