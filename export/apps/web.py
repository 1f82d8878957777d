"""A static web page around the model: onnxruntime-web (WASM), file, drag and drop, camera."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from compress.engine.errors import ExportError
from export.apps.parts import MODEL, facts, told, write_golden, write_prototypes
from export.apps.render import render
from export.apps.source import AppSource, Vendored
from export.bundle.write import write_json

# the version that the tests ran with
ORT_PACKAGE = "onnxruntime-web"
ORT_VERSION = "1.30.0"
ORT_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes the page; complete with ``vendored["ort"]``, a folder of the npm package.

    Raises: ExportError: that folder is not the whole package; or no golden vectors.
    """
    version = _copy_engine(vendored["ort"], folder / "ort") if "ort" in vendored else None
    golden = write_golden(source, folder / "golden")
    shutil.copyfile(source.model, folder / MODEL)
    prototypes = write_prototypes(source, folder)
    document = {"labels": source.labels, **facts(source, folder / MODEL, golden, prototypes)}
    write_json(folder / "app.json", document)
    package = {
        "name": "classifier",
        "private": True,
        "type": "module",
        "scripts": {"ort": "node vendor.mjs"},
        "dependencies": {ORT_PACKAGE: version or ORT_VERSION},
    }
    write_json(folder / "package.json", package)
    values = {**told(source), "ort": version, "prototypes": prototypes}
    render("web", folder, values)


def _copy_engine(package: Path, folder: Path) -> str:
    """Copies the files of onnxruntime-web that the page loads; returns the version."""
    what = f"{package} is not the npm package {ORT_PACKAGE}"
    remedy = f"npm install {ORT_PACKAGE}@{ORT_VERSION}, then --ort node_modules/{ORT_PACKAGE}"
    try:
        facts = json.loads((package / "package.json").read_text(encoding="utf-8"))
        name = facts["name"]
        version = str(facts["version"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExportError(what, got=error, remedy=remedy) from error
    missing = [file for file in ORT_FILES if not (package / "dist" / file).is_file()]
    if name != ORT_PACKAGE or missing:
        got = f"{name} {version}" + (f" without {', '.join(missing)}" if missing else "")
        raise ExportError(what, got=got, remedy=remedy)
    folder.mkdir()
    for file in ORT_FILES:
        shutil.copyfile(package / "dist" / file, folder / file)
    return version
