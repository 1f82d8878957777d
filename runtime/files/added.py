"""The manifest's part "added": classes that joined a bundle after its build, from a few photos.

::

    "added": {"rows": "added.npz",
              "classes": [{"name": "tulip", "photos": 8,
                           "models": {"fp32": {"scale": 31.2, "offset": -12.9},
                                      "int8": {"scale": 30.8, "offset": -12.6}}}],
              "steps": [1],
              "trained": {"labels.json": {"bytes": 480, "sha256": "..."}, ...}}

The file of rows has two arrays (N, D) in the order of the last N labels: ``rows`` and
``prototypes``. A class's logit is ``scale * features·row + offset``; the models' files compute it
already (``runtime.learning.widened``), so a reader of the bundle need not know this part. It is
kept for a build that makes the files again: ``steps`` is how many classes came at a time,
``trained`` the rows of the manifest's "files" before the first. Bundles without such classes have
no such part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from runtime.files.confidence import row_of

ADDED = "added"
ROWS = "added.npz"
ARRAYS = ("rows", "prototypes")


def scale_and_offset(models: Mapping[str, Mapping[str, float]], model: str) -> tuple[float, float]:
    """Those of an added class in a model; ``int8.trt`` has those of ``int8``."""
    row: Any = row_of(models, model, None)
    return float(row["scale"]), float(row["offset"])


def problems(added: object, files: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a manifest's part, in words."""
    if added is None:
        return
    if not isinstance(added, dict) or not isinstance(added.get("classes"), list):
        yield "added classes that are no list"
        return
    rows = added.get("rows")
    if not isinstance(rows, str) or rows not in files or not rows.endswith(".npz"):
        yield f"added classes with rows in {str(rows)[:80]!r}, which is not a listed .npz file"
    steps = added.get("steps")
    counts = steps if isinstance(steps, list) and all(map(_is_count, steps)) else []
    if sum(counts) != len(added["classes"]):
        yield f"added classes in steps of {str(steps)[:80]}, not {len(added['classes'])} in all"
    if not isinstance(added.get("trained"), dict):
        yield "added classes without the files of before"
    for entry in added["classes"]:
        models = entry.get("models") if isinstance(entry, dict) else None
        is_named = isinstance(entry, dict) and isinstance(entry.get("name"), str)
        is_counted = is_named and _is_count(entry.get("photos"))
        if not is_counted or not isinstance(models, dict) or not models:
            yield "an added class without a name, photos and models"
        elif not all(map(_is_calibrated, models.values())):
            yield f"added class {entry['name'][:80]!r} without scale and offset"


def _is_calibrated(row: object) -> bool:
    return isinstance(row, dict) and all(_is_number(row.get(key)) for key in ("scale", "offset"))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: object) -> bool:
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value)  # type: ignore[arg-type]
