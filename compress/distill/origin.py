"""What a student starts from and learns by, told without loading a network."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Any

from compress.engine.config import DistillSettings, Settings
from compress.engine.hub import fingerprint_path
from compress.engine.packages import installed
from compress.engine.plugins import rows_used, sources
from compress.engine.store import sha256_file

MODULE = "compress.distill.objectives"  # a module that needs torch
EMBEDDED = "petal_cnn"
NARROWER = f"{EMBEDDED}_w"  # petal_cnn_w8: 8 channels in its first convolution


def shipped(init: str, arch: str) -> bool:
    """Whether this package holds such first weights: the small CLIP (whole, pruned) or generic."""
    return arch == EMBEDDED or (init == "clip" and arch.startswith(NARROWER))


def fingerprint(settings: Settings) -> dict[str, str]:
    """The identity of the first weights, and of an objective and terms that are not ours."""
    return {**_first_weights(settings), **_rows(settings.distill)}


def _rows(settings: DistillSettings) -> dict[str, str]:
    """The sources of an objective and terms that other packages or a script have added."""
    found = rows_used(f"{MODULE}:OBJECTIVES", "objectives", [settings.objective])
    rows = {f"objective {name}": row for name, row in found.items()}
    module: Any = sys.modules.get(MODULE)
    if module is not None and found:  # otherwise nobody has changed a term
        terms = rows_used(f"{MODULE}:TERMS", "terms", module.terms_of(settings))
        rows |= {f"term {name}": row for name, row in terms.items()}
    return sources(rows)


def _first_weights(settings: Settings) -> dict[str, str]:
    """The file's digest, the embedded world's, or timm's version."""
    from compress.petals import fingerprint as embedded_world

    init = settings.distill.init
    path = settings.distill.init_path
    if path is not None and path.is_file():
        return {"init": sha256_file(path)}
    if path is not None:
        return {"init": fingerprint_path(path) if path.is_dir() else "missing"}
    if init in ("clip", "generic"):
        return {"init": embedded_world()}
    if init == "timm" and (file := installed(settings.distill.student)) is not None:
        return {"init": sha256_file(file)}
    return {"init": f"timm {metadata.version('timm')}" if init == "timm" else "random"}
