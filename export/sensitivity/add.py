"""Adds the chosen mixture of int8 and float blocks to a run's bundle, if it deserves a place
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from compress.engine.errors import ExportError
from compress.engine.runs import RunFolder
from compress.engine.stage import StageContext
from export.bundle.write import copy_with_metadata, seal
from export.onnx.parity import compare, require
from export.sensitivity.front import Candidate
from export.sensitivity.mixtures import Mixtures
from export.stage import torch_logits
from runtime import golden, normalize
from runtime.backends import load as load_model
from runtime.bundle import GOLDEN, open_bundle
from runtime.classifier import META_LABELS, META_PRECISION, META_PREPROCESS
from runtime.files.onnx import check

KEY, FILE = "mixed", "model.mixed.onnx"
PARITY_IMAGES = 64


def reason_against(
    front: list[Mapping[str, Any]], chosen: int, result: Mapping[str, Any]
) -> str | None:
    """Why the choice is not added to the bundle; None for a mixture that beats int8 and fp32 beyond
    the noise.
    """
    names = front[chosen]["float_blocks"]
    if not names or len(names) == len(result["blocks"]):
        return f"the choice is {'fp32' if names else 'int8'}, which the bundle holds already"
    speedups = result["speedups"]
    int8 = next(row for row in result["candidates"] if not row["float_blocks"])
    fails = [
        name
        for name in ("int8", "fp32")
        if speedups[f"chosen_vs_{name}"]["ci95"][0] <= 1.0
        and not (name == "int8" and not _candidate(int8).passes)
    ]
    return f"it is not faster than {' and '.join(fails)} beyond the noise" if fails else None


def add_mixed(
    ctx: StageContext, mixtures: Mixtures, names: frozenset[str], result: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes ``model.mixed.onnx`` with golden logits and a manifest row, and makes it the bundle's
    default.

    Returns:
        {"added": bool, "why": str} and, where it was added, "file", "bytes" and "parity".

    Raises:
        ExportError: the run has no bundle. ParityError: the file does not compute what its torch
            model does.
    """
    against = reason_against(result["front"], result["chosen"], result)
    if against is not None:
        return {"added": False, "why": against}
    folder = RunFolder(ctx.folder).bundle
    if not folder.is_dir():
        raise ExportError("this run has no bundle", got=folder, remedy="compress build makes it")
    pixels = mixtures.views.pixels[:PARITY_IMAGES]
    images = normalize(pixels, mixtures.spec)
    source = mixtures.file(names)
    parity = require(
        compare(source, torch_logits(mixtures.reference(names), images), images, precision="int8")
    )

    bundle = open_bundle(folder)
    described = check(bundle.models["int8"]).metadata
    carried = {key: described[key] for key in (META_LABELS, META_PREPROCESS)}
    copy_with_metadata(source, folder / FILE, {**carried, META_PRECISION: KEY})
    _add_golden(folder, mixtures)
    what = f"int8 but for {', '.join(mixtures.ordered(names))}, which stay in float"
    manifest = dict(bundle.manifest)
    row = {
        "file": FILE,
        "state": "verified",
        "why": what,
        "parity": {**parity.to_json(), "file": FILE},
    }
    seal(
        folder,
        {**manifest["models"], KEY: FILE},
        KEY,
        {**manifest.get("targets", {}), KEY: row},
        default_reason=f"{what}: faster than all in int8 and all in float where compress "
        "sensitivity ran",
    )
    return {
        "added": True,
        "why": what,
        "file": FILE,
        "bytes": (folder / FILE).stat().st_size,
        "parity": row["parity"],
    }


def _add_golden(folder: Path, mixtures: Mixtures) -> None:
    """The mixture's logits beside those of the other models."""
    if not (folder / GOLDEN).exists():
        return
    arrays = golden.read(folder / GOLDEN)
    encoded = [arrays[f"img_{index}"].tobytes() for index in range(len(arrays["decoded"]))]
    runner = load_model("onnxruntime", folder / FILE, threads=1)
    golden.write(
        folder / GOLDEN, {**arrays, **golden.make(encoded, mixtures.spec, {KEY: runner.run})}
    )


def _candidate(row: Mapping[str, Any]) -> Candidate:
    kept = {field.name: row[field.name] for field in fields(Candidate)}
    return Candidate(**{**kept, "float_blocks": tuple(row["float_blocks"])})
