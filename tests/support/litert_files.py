"""LiteRT's files without its converter, which needs an environment of its own."""

from __future__ import annotations

from pathlib import Path

from paths import ROOT

from export.targets.write import export_targets

FILES = ROOT / "tests" / "data" / "litert"


def with_litert(bundle: Path, scratch: Path) -> Path:
    """A copy of a bundle of ``tiny_bundles`` with features, and LiteRT's files of its models.

    A script stands in for the converter: it gives what the converter made of the same models.
    LiteRT itself verifies them.
    """
    script = scratch / "env" / "bin" / "python"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\ncp "{FILES}/tiny.$5.tflite" "$4"\n', encoding="utf-8")
    script.chmod(0o755)
    out = scratch / "bundle"
    names = ["litert.int8", "litert.fp32"]
    rows = export_targets(bundle, names, out=out, converter_env=scratch / "env")
    assert {row["state"] for row in rows.values()} == {"verified"}
    return out
