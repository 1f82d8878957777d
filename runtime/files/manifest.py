"""manifest.json: a bundle's files with their sizes and hashes, and which of them is which model.

::

    {"schema": 2, "default": "int8", "default_reason": "int8 is 1.9x as fast here",
     "models": {"int8": "model.int8.onnx"},
     "files": {"model.int8.onnx": {"bytes": 2712345, "sha256": "..."}, ...},
     "targets": {"fp16": {"file": "model.fp16.onnx", "state": "verified", "why": "...",
                          "parity": {...}}}}

Schema 2 adds to schema 1 the subfolder ``onnx/``, files ending in ``.ort``, and the optional
"targets". Unknown keys are ignored, so a schema grows without a new number; the number rises when
old readers must not go on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.errors import BundleError
from runtime.files.regular import COPY_AGAIN
from runtime.files.strict_json import read_json

SCHEMA = 2  # what is written; every schema from 1 on is read
MANIFEST = "manifest.json"
BUNDLE = "bundle"  # the folder of a run that holds one
LABELS = "labels.json"
PREPROCESS = "preprocess.json"
GOLDEN = "golden.npz"
REQUIRED = (LABELS, PREPROCESS)
SUBFOLDER = "onnx/"  # where Hugging Face's loaders look for models
MAX_FILES = 256
MAX_FILE_BYTES = 2**31  # protobuf's own limit on a model
MAX_TOTAL_BYTES = 2**34  # a sparse file takes no disk, but time to read
# No folder, drive, hidden file or '..' matches.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
MODEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")

# Data only: no pickle, library, engine or script.
SUFFIXES_1 = (".onnx", ".json", ".txt", ".npz", ".md", ".svg", ".png")
SUFFIXES = {1: SUFFIXES_1, 2: (*SUFFIXES_1, ".ort")}
FOLDERS = {1: ("",), 2: ("", SUBFOLDER)}
STATES = ("verified", "unverified")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the bundle in ``folder``; of its files only the names are checked.

    Raises: BundleError: absent, damaged, unsafe or of a future schema.
    """
    file = folder / MANIFEST
    if not file.is_file():
        got = f"no {MANIFEST}" if folder.is_dir() else "a file" if folder.exists() else "no folder"
        inside = folder / BUNDLE
        is_run = (inside / MANIFEST).is_file()
        remedy = f"that of this run is {inside}" if is_run else "compress build makes one"
        raise BundleError(f"{folder} is not a bundle", got=got, remedy=remedy)
    return check_manifest(read_json(file), folder)


def check_manifest(manifest: object, folder: Path) -> dict[str, Any]:
    """``manifest``, if it may stand in ``folder``; errors as ``read_manifest``."""
    file = folder / MANIFEST
    if not isinstance(manifest, dict):
        got = type(manifest).__name__
        raise BundleError(f"{file} is not a manifest", got=got, expected="an object")
    schema = manifest.get("schema")
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        what = f"{file} has no schema version"
        raise BundleError(what, got=repr(schema)[:40], expected=f"1..{SCHEMA}")
    if schema > SCHEMA:
        what = f"{folder} was made by a newer clip2edge"
        got = f"schema {str(schema)[:40]}"
        remedy = "pip install --upgrade clip2edge"
        raise BundleError(what, got=got, expected=f"at most {SCHEMA}", remedy=remedy)
    for problem in _problems(manifest, schema):
        raise BundleError(f"{file} is not usable", got=problem[:400], remedy=COPY_AGAIN)
    return manifest


def _problems(manifest: dict[str, Any], schema: int) -> Iterator[str]:
    files = manifest.get("files")
    models = manifest.get("models")
    if not isinstance(files, dict) or not isinstance(models, dict) or not models:
        yield "no table of files or of models"
        return
    yield from _file_problems(files, schema)
    yield from (f"{name} is not listed" for name in REQUIRED if name not in files)
    if len(models) > MAX_FILES:
        yield f"{len(models)} models, at most {MAX_FILES} are accepted"
    for key, name in models.items():
        if not MODEL_KEY.fullmatch(key):
            yield f"model name {key[:80]!r}, expected letters, digits and . _ + -"
        if not isinstance(name, str) or not name.endswith(".onnx") or name not in files:
            yield f"model {key!r} is {name!r}, which is not a listed .onnx file"
    default = manifest.get("default")
    if not isinstance(default, str) or default not in models:
        yield f"default {default!r} is not one of {', '.join(models)}"
    if not isinstance(reason := manifest.get("default_reason", ""), str):
        yield f"default_reason {reason!r} is not text"
    yield from _target_problems(manifest.get("targets", {}), files)


def _file_problems(files: Mapping[str, Any], schema: int) -> Iterator[str]:
    if len(files) > MAX_FILES:
        yield f"{len(files)} files, at most {MAX_FILES} are accepted"
    for name, want in files.items():
        if not _is_safe(name, schema):
            folders = " or in ".join(folder or "the bundle itself" for folder in FOLDERS[schema])
            expected = f"a plain name in {folders} that ends in {', '.join(SUFFIXES[schema])}"
            yield f"file name {name[:160]!r}, expected {expected}"
        elif not isinstance(want, dict) or not _is_entry(want):
            yield f"entry {name!r} without bytes (0..{MAX_FILE_BYTES:,}) and sha256"
    total = sum(want["bytes"] for want in files.values())
    if total > MAX_TOTAL_BYTES:
        yield f"{total:,} bytes in all files, at most {MAX_TOTAL_BYTES:,} are accepted"
    if len({name.lower() for name in files}) < len(files):
        yield "two file names that differ in case only, which some file systems take for one"


def _target_problems(targets: object, files: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(targets, dict) or len(targets) > MAX_FILES:
        yield "targets that are not a table of models"
        return
    for key, row in targets.items():
        if not MODEL_KEY.fullmatch(key) or not isinstance(row, dict):
            yield f"target {key[:80]!r} is not a named row"
        elif not isinstance(row.get("file"), str) or row["file"] not in files:
            yield f"target {key!r} has a file that is not listed"
        elif not row["file"].endswith((".onnx", ".ort")):
            yield f"target {key!r} is {row['file']!r}, which is no model"
        elif row.get("state") not in STATES or not isinstance(row.get("why"), str):
            yield f"target {key!r} without a state ({' or '.join(STATES)}) and a reason"
        elif not isinstance(row.get("parity"), (dict, type(None))):
            yield f"target {key!r} has a parity that is no table"


def _is_safe(name: str, schema: int) -> bool:
    folders = [folder for folder in FOLDERS[schema] if name.startswith(folder)]
    inside = any(SAFE_NAME.fullmatch(name.removeprefix(folder)) for folder in folders)
    return inside and name.endswith(SUFFIXES[schema]) and name.lower() != MANIFEST


def _is_entry(want: Mapping[str, object]) -> bool:
    size = want.get("bytes")
    digest = want.get("sha256")
    is_size = isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= MAX_FILE_BYTES
    return is_size and isinstance(digest, str) and bool(re.fullmatch(r"[0-9a-f]{64}", digest))
