"""A CMake project in C++17 on the onnxruntime C++ API; labels and preprocessing become a header."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from export.apps.render import markdown_text, quoted, render
from export.apps.source import MODEL, AppSource, Vendored, write_golden

# A C++ string literal that no label can end; '?' could begin a trigraph.
literal = partial(quoted, special=b'"\\?')


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes the project; raises ExportError if the bundle has no golden vectors of the model."""
    golden = write_golden(source, folder / "golden")
    shutil.copyfile(source.model, folder / MODEL)
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
    }
    render("cpp", folder, values)
