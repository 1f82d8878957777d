"""A CMake project in C++17 on the onnxruntime C++ API; labels and preprocessing become a header."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from export.apps.parts import MODEL, write_golden, write_prototypes
from export.apps.render import markdown_text, quoted, render
from export.apps.source import AppSource, Vendored
from runtime.rejection import PARTS

NO_SCORE = "none"
# A C++ string literal that no label can end; '?' could begin a trigraph.
literal = partial(quoted, special=b'"\\?')


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes the project; raises ExportError if the bundle has no golden vectors of the model."""
    golden = write_golden(source, folder / "golden")
    shutil.copyfile(source.model, folder / MODEL)
    prototypes = write_prototypes(source, folder)
    rejection = source.rejection
    scales = dict(rejection.scales) if rejection is not None else {}
    values = {
        "title": markdown_text(source.title),
        "kilobytes": source.kilobytes,
        "precision": literal(source.precision),
        "precision_name": source.precision,
        "labels": [
            {"literal": literal(label), "bytes": len(label.encode())} for label in source.labels
        ],
        "spec": source.spec,
        "golden": [literal(name) for name in golden],
        "tolerance": source.tolerance,
        "temperature": source.temperature,
        "score": NO_SCORE if rejection is None else rejection.score,
        "threshold": 0.0 if rejection is None else rejection.threshold,
        "scales": [scales.get(part, (0.0, 1.0)) for part in PARTS],
        "width": source.width if prototypes is not None else 0,
        "prototypes": prototypes or "",
    }
    render("cpp", folder, values)
