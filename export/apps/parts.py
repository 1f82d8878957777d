"""Files that several apps hold: labels, prototypes, golden vectors, and what JSON says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.apps.render import markdown_text
from export.apps.source import AppSource
from export.bundle.files import LABELS_TEXT
from runtime.bundle import sha256_of

MODEL = "model.onnx"  # the model's file in an app
PROTOTYPES = "prototypes.f32"  # those of its classes, K rows of D little-endian float32


def write_golden(source: AppSource, folder: Path) -> list[str]:
    """Writes golden images, crops and logits; returns the image files' names.

    Per image ``<i>.png`` or ``.jpg``, ``<i>.rgb`` (uint8 S x S x 3) and ``<i>.f32`` (K
    little-endian).
    """
    folder.mkdir()
    names = []
    for index, case in enumerate(source.golden):
        names.append(f"{index}{case.suffix}")
        (folder / names[-1]).write_bytes(case.image)
        (folder / f"{index}.rgb").write_bytes(case.pixels.tobytes())
        (folder / f"{index}.f32").write_bytes(case.logits.astype("<f4").tobytes())
    return names


def write_labels(source: AppSource, folder: Path) -> None:
    """Writes the names of the classes, a line each."""
    (folder / LABELS_TEXT).write_bytes("".join(f"{label}\n" for label in source.labels).encode())


def facts(
    source: AppSource, model: Path, golden: list[str], prototypes: str | None
) -> dict[str, Any]:
    """What an app that reads JSON has to know beside its labels.

    Args:
        model: its file, in the app.
        golden: what ``write_golden`` gave.
        prototypes: what ``write_prototypes`` gave.
    """
    rejection = source.rejection
    rule = rejection and {
        "score": rejection.score,
        "threshold": rejection.threshold,
        "scales": {part: list(pair) for part, pair in rejection.scales.items()},
        "prototypes": prototypes,
        "features": rejection.needs_features,
    }
    return {
        "title": source.title,
        "model": model.name,
        "sha256": sha256_of(model),
        "precision": source.precision,
        "preprocess": source.spec.to_json(),
        "golden": golden,
        "tolerance": source.tolerance,
        "temperature": source.temperature,
        "rejection": rule,
    }


def told(source: AppSource) -> dict[str, Any]:
    """What pages and READMEs say of a model."""
    return {
        "title": markdown_text(source.title),
        "labels": len(source.labels),
        "precision": source.precision,
        "kilobytes": source.kilobytes,
        "size": source.spec.size,
    }


def write_prototypes(source: AppSource, folder: Path) -> str | None:
    """Writes the prototypes of the classes; None where the app's score has no use for them."""
    rejection = source.rejection
    if rejection is None or rejection.prototypes is None:
        return None
    (folder / PROTOTYPES).write_bytes(rejection.prototypes.astype("<f4").tobytes())
    return PROTOTYPES
