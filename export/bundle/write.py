"""Writes the bundle: what ships. Equal inputs give equal bytes; the runtime opens the result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compress.engine.errors import ExportError
from export.bundle import huggingface
from export.bundle.files import CARD, LABELS_TEXT, MODELS, PROVENANCE
from export.bundle.folder import require_empty
from export.confidence.document import Confidence
from runtime import golden as golden_vectors
from runtime.backends import load as load_model
from runtime.bundle import (
    FEATURES,
    GOLDEN,
    LABELS,
    MANIFEST,
    PREPROCESS,
    labels_from_json,
    open_bundle,
    sha256_of,
)
from runtime.classifier import META_LABELS, META_PRECISION, META_PREPROCESS, META_TEMPERATURE
from runtime.files import protobuf
from runtime.files.atomic import atomic
from runtime.files.confidence import ARRAY, CONFIDENCE, PROTOTYPES
from runtime.files.manifest import check_manifest, schema_of, write_manifest
from runtime.files.onnx import check
from runtime.files.strict_json import canonical
from runtime.preprocess import PreprocessSpec

Manifest = dict[str, Any]


def write_bundle(
    folder: Path,
    models: Mapping[str, Path],
    preprocess: PreprocessSpec,
    labels: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
    golden: Sequence[bytes | np.ndarray],
    card: str,
    default: str,
    hugging_face: bool = True,
    confidence: Confidence | None = None,
) -> Manifest:
    """Fills the new or empty ``folder`` and returns its manifest, which is written last.

    Args:
        models: a key of ``MODELS`` -> ONNX file; each copy carries labels and preprocessing in its
            metadata.
        labels: a row per class in index order: name, and where known prompt and synonyms.
        golden: a few encoded images (or uint8 (H, W, 3)) for golden.npz.
        default: the model that ``precision="auto"`` means.
        hugging_face: add the files of optimum and transformers.js; doubles the size of the models.
        confidence: temperatures, which the files state too, and rejection.

    Raises:
        ExportError: an unknown model name, no model, or a default that is not among them.
        BundleError, BackendError: a model that the runtime refuses.
    """
    unknown = sorted(set(models) - set(MODELS))
    if unknown or not models:
        got = ", ".join(unknown) or "none"
        raise ExportError("models of the bundle", got=got, expected=", ".join(MODELS))
    if default not in models:
        raise ExportError("default model", got=repr(default), expected=" or ".join(sorted(models)))
    require_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{**row, "index": index} for index, row in enumerate(labels)]
    names = [label.name for label in labels_from_json(rows)]
    for precision, source in models.items():
        temperature = confidence.temperatures.get(precision) if confidence else None
        metadata = model_metadata(names, preprocess, precision, temperature)
        copy_with_metadata(source, folder / MODELS[precision], metadata)
    write_json(folder / LABELS, rows)
    (folder / LABELS_TEXT).write_bytes("".join(f"{name}\n" for name in names).encode())
    write_json(folder / PREPROCESS, preprocess.to_json())
    write_json(folder / PROVENANCE, provenance)
    (folder / CARD).write_bytes(card.encode())
    if hugging_face:
        for name, document in huggingface.documents(names, preprocess).items():
            write_json(folder / name, document)
        huggingface.write_twins(folder, {name: folder / MODELS[name] for name in models})
    files = {name: folder / MODELS[name] for name in sorted(models)}
    loaded = {key: load_model("onnxruntime", file, threads=1) for key, file in files.items()}
    logits = {key: runner.run for key, runner in loaded.items()}
    features = {
        key: partial(runner.run, output=FEATURES)
        for key, runner in loaded.items()
        if FEATURES in runner.outputs
    }
    arrays = golden_vectors.make(list(golden), preprocess, logits, features)
    golden_vectors.write(folder / GOLDEN, arrays)
    if confidence is not None and confidence.prototypes is not None:
        stored = {ARRAY: confidence.prototypes.astype(np.float16)}
        golden_vectors.write(folder / PROTOTYPES, stored)
    told = confidence.document if confidence is not None else None
    return seal(folder, {name: MODELS[name] for name in models}, default, confidence=told)


def seal(
    folder: Path,
    models: Mapping[str, str],
    default: str,
    targets: Mapping[str, Mapping[str, Any]] | None = None,
    default_reason: str | None = None,
    confidence: Mapping[str, Any] | None = None,
) -> Manifest:
    """Writes the manifest of all files in ``folder`` and opens the result.

    Args:
        models: model key -> file name in ``folder``.
        targets: export target -> "file", "state" ("verified" or "unverified"), "why", "parity".
        default_reason: why that default, in words.
        confidence: see ``runtime.files.confidence``.

    Raises:
        BundleError: a folder that the runtime refuses; it keeps the manifest it had.
    """
    files = [file for file in folder.rglob("*") if file.is_file() and file != folder / MANIFEST]
    entries = {file.relative_to(folder).as_posix(): file_entry(file) for file in sorted(files)}
    manifest = {
        "schema": schema_of(entries),
        "default": default,
        "models": dict(models),
        "files": entries,
    }
    if targets is not None:
        manifest["targets"] = {key: dict(row) for key, row in targets.items()}
    if default_reason is not None:
        manifest["default_reason"] = default_reason
    if confidence:
        manifest[CONFIDENCE] = dict(confidence)
    check_manifest(manifest, folder)
    write_manifest(folder, manifest)
    open_bundle(folder)
    return manifest


def file_entry(file: Path) -> dict[str, int | str]:
    """The manifest's row of a file."""
    return {"bytes": file.stat().st_size, "sha256": sha256_of(file)}


def update_default(bundle: Path, default: str) -> Manifest:
    """Makes ``default`` the model of ``precision="auto"``; only the manifest changes, atomically.

    Raises:
        ExportError: the bundle holds no such model.
        BundleError: the bundle is damaged.
    """
    manifest = {**open_bundle(bundle).manifest, "default": default}
    if default not in manifest["models"]:
        expected = " or ".join(manifest["models"])
        raise ExportError("default model", got=repr(default), expected=expected)
    manifest.pop("default_reason", None)
    write_manifest(bundle, manifest)
    return manifest


def model_metadata(
    labels: Sequence[str] | Sequence[Mapping[str, Any]],
    spec: PreprocessSpec,
    precision: str,
    temperature: float | None = None,
) -> dict[str, str]:
    """What a model file says of itself: labels, preprocessing, precision, temperature."""
    honest = {} if temperature is None else {META_TEMPERATURE: f"{temperature:g}"}
    return {
        **honest,
        META_LABELS: json.dumps(labels, sort_keys=True),
        META_PREPROCESS: json.dumps(spec.to_json(), sort_keys=True),
        META_PRECISION: precision,
    }


def copy_with_metadata(source: Path, target: Path, metadata: Mapping[str, str]) -> None:
    """Copies an ONNX file and adds ``metadata`` to its metadata_props, without parsing its weights.

    Entries of a repeated protobuf field that are appended to a message belong to it.

    Raises:
        ExportError: the file already has another value under one of the keys.
        BundleError: the file is no ONNX model, or reaches outside itself.
    """
    present = check(source).metadata
    for key, value in metadata.items():
        if present.get(key, value) != value:
            got = present[key][:200]
            raise ExportError(f"{source} has another {key}", got=got, expected=value[:200])
    shutil.copyfile(source, target)
    with open(target, "ab") as stream:
        for key in sorted(set(metadata) - set(present)):
            # a StringStringEntryProto in ModelProto.metadata_props
            entry = protobuf.message(1, key.encode()) + protobuf.message(2, metadata[key].encode())
            stream.write(protobuf.message(14, entry))


def write_json(file: Path, value: object) -> None:
    """Canonical JSON (sorted, UTF-8, no NaN), put in place atomically."""
    with atomic(file) as temporary:
        temporary.write_bytes(canonical(value))
