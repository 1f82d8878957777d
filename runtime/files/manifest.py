"""manifest.json: a bundle's files with their sizes and hashes, and which of them is which model.

::

    {"schema": 2, "default": "int8", "default_reason": "int8 is 1.9x as fast here",
     "models": {"int8": "model.int8.onnx"},
     "files": {"model.int8.onnx": {"bytes": 2712345, "sha256": "..."}, ...},
     "targets": {"fp16": {"file": "model.fp16.onnx", "state": "verified", "why": "...",
                          "parity": {...}}},
     "check": "..."}

"check" is the SHA-256 of all the rest: a digit that a bad disk changes in a threshold is told as
one in a model is. A manifest without it, as bundles of before have it, is taken as it is.

Schema 2 adds to schema 1 the subfolder ``onnx/``, files ending in ``.ort``, and the optional
"targets", "confidence" (``runtime.files.confidence``) and "added" (``runtime.files.added``: classes
that joined after the build). Schema 3 adds the files of further engines; a bundle without any says
schema 2, which every reader takes. Unknown keys are ignored, so a schema grows without a new
number; the number rises when old readers must not go on.

A model in two files is listed by its first; the second has the same name with another suffix
(``companion``), and its own size and hash among the files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.errors import BundleError
from runtime.files import added, confidence
from runtime.files.added import ADDED
from runtime.files.atomic import atomic
from runtime.files.confidence import CONFIDENCE
from runtime.files.paths import MANIFEST
from runtime.files.regular import COPY_AGAIN
from runtime.files.strict_json import canonical, read_json

SCHEMA = 3  # the newest; every schema from 1 on is read
LABELS = "labels.json"
PREPROCESS = "preprocess.json"
GOLDEN = "golden.npz"
PROVENANCE = "provenance.json"  # how a build made it; no device reads it
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
SUFFIXES_2 = (*SUFFIXES_1, ".ort")
SUFFIXES_3 = (*SUFFIXES_2, ".xml", ".param", ".bin", ".tflite", ".pte", ".mlpackage.zip")
SUFFIXES = {1: SUFFIXES_1, 2: SUFFIXES_2, 3: SUFFIXES_3}
FOLDERS = {1: ("",), 2: ("", SUBFOLDER), 3: ("", SUBFOLDER)}
# Of export targets
MODEL_SUFFIXES = (".onnx", ".ort", ".xml", ".param", ".tflite", ".pte", ".mlpackage.zip")
COMPANIONS = {".xml": ".bin", ".param": ".bin"}  # of OpenVINO and ncnn: the graph -> its weights
STATES = ("verified", "unverified")
CHECK = "check"  # in manifest.json: SHA-256 of all the rest of it


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the bundle in ``folder``; of its files only the names are checked.

    Raises: BundleError: absent, damaged, unsafe or of a future schema.
    """
    file = folder / MANIFEST
    if not file.is_file():
        got = f"no {MANIFEST}" if folder.is_dir() else "a file" if folder.exists() else "no folder"
        raise BundleError(f"{folder} is not a bundle", got=got, remedy="compress build makes one")
    return check_manifest(read_json(file), folder)


def check_manifest(manifest: object, folder: Path) -> dict[str, Any]:
    """``manifest`` less its check, if it may stand in ``folder``; errors as ``read_manifest``."""
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
    check = manifest.pop(CHECK, None)
    if check is not None and sealed(manifest)[CHECK] != check:
        what = f"{file} is damaged, or edited by hand"
        got = f"other content than its {CHECK!r} says"
        remedy = f"{COPY_AGAIN}; what was edited on purpose loads without {CHECK!r}"
        raise BundleError(what, got=got, remedy=remedy)
    for problem in _problems(manifest, schema):
        raise BundleError(f"{file} is not usable", got=problem[:400], remedy=COPY_AGAIN)
    return manifest


def schema_of(files: Iterable[str]) -> int:
    """The lowest schema that may list these files, from 2 on: what is written."""
    return 2 if all(name.endswith(SUFFIXES[2]) for name in files) else SCHEMA


def companion(name: str) -> str | None:
    """The second file of a model in two files; None for a model in one."""
    stem, dot, suffix = name.rpartition(".")
    other = COMPANIONS.get(dot + suffix)
    return other and stem + other


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """``manifest`` with the check of its content, as it is written."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return {**manifest, CHECK: hashlib.sha256(text.encode()).hexdigest()}


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Puts the manifest of a bundle in place, atomically, with the check of its content."""
    with atomic(folder / MANIFEST) as temporary:
        temporary.write_bytes(canonical(sealed(manifest)))


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
    yield from confidence.problems(manifest.get(CONFIDENCE, {}), files)
    yield from added.problems(manifest.get(ADDED), files)


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
        elif not row["file"].endswith(MODEL_SUFFIXES):
            yield f"target {key!r} is {row['file']!r}, which is no model"
        elif companion(row["file"]) not in {None, *files}:
            yield f"target {key!r} without its {companion(row['file'])!r}"
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
