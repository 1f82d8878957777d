"""The manifest's part "confidence": a temperature and a way of rejection for each model.

::

    "confidence": {
      "temperature": {"models": {"fp32": 1.62, "int8": 1.6},
                      "fitted_on": "labeled images that are neither shots nor ...", "n": 252},
      "rejection": {"score": "combined", "keep": 0.95, "prototypes": "prototypes.npz",
                    "models": {"fp32": {"threshold": -1.7,
                                        "scales": {"energy": [9.1, 2.2], ...}}, ...}, ...},
      "classes": {"models": {"fp32": {"scale": 91.3}, ...}, "measured_on": "...", "n": 96}}

"classes" is what a cosine counts in logits, see ``runtime.learning.calibration``. Each part may be
absent: bundles of before have none, their temperature is 1 and they know no image from another. A
model without a row has that of the model it was made from: ``int8.u8in`` that of ``int8``, ``fp16``
that of ``fp32``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from runtime.errors import BundleError
from runtime.files.golden_npz import read
from runtime.rejection import COMBINED, PARTS, SCORES, Rejection, needs_features

CONFIDENCE = "confidence"
PROTOTYPES = "prototypes.npz"  # one array (K, D) of its stem's name, float16
ARRAY = "prototypes"
LEAST, MOST = 1e-3, 1e3  # of a temperature

Row = TypeVar("Row")


def temperature_of(manifest: Mapping[str, Any], model: str) -> float:
    """The temperature of a model of a bundle whose manifest was checked; 1 without one."""
    part = manifest.get(CONFIDENCE, {}).get("temperature", {})
    return float(row_of(part.get("models", {}), model, 1.0))


def rejection_of(
    manifest: Mapping[str, Any], model: str, folder: Path, classes: int
) -> Rejection | None:
    """How a model tells images of no class; None in a bundle that does not.

    Raises: BundleError: prototypes that do not fit the classes.
    """
    part = manifest.get(CONFIDENCE, {}).get("rejection")
    row = row_of(part.get("models", {}), model, None) if part else None
    if part is None or row is None:
        return None
    scales = {name: (float(pair[0]), float(pair[1])) for name, pair in row["scales"].items()}
    name = part.get("prototypes")
    score = part["score"]
    prototypes = prototypes_in(folder / name, classes) if needs_features(score) else None
    return Rejection(score, float(row["threshold"]), float(part["keep"]), scales, prototypes)


def row_of(rows: Mapping[str, Row], model: str, absent: Row | None) -> Any:
    """The row of a model, of the one that it was made from, or of fp32."""
    parts = model.split(".")
    tried = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((rows[name] for name in (*tried, "fp32") if name in rows), absent)


def prototypes_in(file: Path, classes: int) -> np.ndarray:
    """The prototypes (K, D) float32 in a bundle's file.

    Raises: BundleError: absent, or not those of ``classes`` classes.
    """
    rows = read(file).get(ARRAY)
    if rows is None or rows.ndim != 2 or len(rows) != classes or not np.isfinite(rows).all():
        got = "none" if rows is None else f"{rows.dtype} {rows.shape}"
        expected = f"finite ({classes}, D)"
        raise BundleError(f"{file} holds no prototypes", got=got, expected=expected)
    return rows.astype(np.float32)


def problems(confidence: object, files: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a manifest's part, in words."""
    if not isinstance(confidence, dict):
        yield "confidence that is no table"
        return
    parts = {name: confidence.get(name, {}) for name in ("temperature", "rejection", "classes")}
    temperature, rejection, classes = parts.values()
    for name, part in parts.items():
        if not isinstance(part, dict) or not isinstance(part.get("models", {}), dict):
            yield f"{name} that is no table of models"
            return
    for model, value in temperature.get("models", {}).items():
        if not _is_number(value) or not LEAST <= value <= MOST:
            yield f"temperature {str(value)[:40]} of {str(model)[:80]}, not {LEAST:g}..{MOST:g}"
    for model, row in classes.get("models", {}).items():
        scale = row.get("scale") if isinstance(row, dict) else None
        if not _is_number(scale):
            yield f"scale {str(scale)[:40]} of the classes of {str(model)[:80]}, not a number"
    if rejection:
        yield from _rejection_problems(rejection, files)


def _rejection_problems(rejection: Mapping[str, Any], files: Mapping[str, Any]) -> Iterator[str]:
    score, file = rejection.get("score"), rejection.get("prototypes")
    if score not in SCORES:
        yield f"rejection by {str(score)[:40]!r}, expected one of {', '.join(SCORES)}"
        return
    keep = rejection.get("keep")
    if not isinstance(keep, (int, float)) or not _is_number(keep) or not 0 < keep <= 1:
        yield f"rejection that keeps {str(keep)[:40]}, not a share"
    is_listed = isinstance(file, str) and file in files and file.endswith(".npz")
    if not is_listed and (file is not None or needs_features(score)):
        yield f"rejection with prototypes in {str(file)[:80]!r}, which is not a listed .npz file"
    for model, row in rejection.get("models", {}).items():
        scales = row.get("scales") if isinstance(row, dict) else None
        is_set = isinstance(row, dict) and _is_number(row.get("threshold"))
        if not is_set or not isinstance(scales, dict) or not all(map(_is_scale, scales.items())):
            yield f"rejection of {str(model)[:80]} without a threshold and scales"
        elif score == COMBINED and not scales:
            yield f"rejection of {str(model)[:80]} without the scales of its parts"


def _is_number(value: object) -> bool:
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value)  # type: ignore[arg-type]


def _is_scale(entry: tuple[object, object]) -> bool:
    name, pair = entry
    is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2 and all(map(_is_number, pair))
    return name in PARTS and is_pair and pair[1] > 0  # type: ignore[index]
