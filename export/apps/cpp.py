"""A CMake project in C++17 on the onnxruntime C++ API; labels and preprocessing become a header."""

from __future__ import annotations

import shutil
from pathlib import Path

from export.apps.render import markdown_text, render
from export.apps.source import AppSource, Vendored, write_golden

PLAIN = frozenset(range(0x20, 0x7F)) - set(b'"\\?')  # '?' could begin a trigraph


def fill(source: AppSource, folder: Path, vendored: Vendored) -> None:
    """Writes the project.

    Raises:
        ExportError: the bundle has no golden vectors of the model.
    """
    golden = write_golden(source, folder / "golden")
    shutil.copyfile(source.model, folder / "model.onnx")
    values = {
        "title": markdown_text(source.title),
        "kilobytes": f"{source.model.stat().st_size / 1000:,.0f}",
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


def literal(text: str) -> str:
    """A C++ string literal of the UTF-8 bytes of ``text``; no label can end it or add to the
    program.
    """
    return (
        '"'
        + "".join(chr(byte) if byte in PLAIN else f"\\{byte:03o}" for byte in text.encode())
        + '"'
    )
