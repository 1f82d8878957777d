"""``compress export BUNDLE --to tensorrt`` beside other targets: engines built on this machine,
kept in the user's cache.

An engine belongs to one GPU and one TensorRT, so nothing of it goes into the bundle or its
manifest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def rows(bundle: Path) -> dict[str, dict[str, Any]]:
    """What became of each model that is meant for TensorRT; see ``runtime.commands.engine``.

    Raises:
        BackendError: no TensorRT or GPU, or an engine that computes something else than its file.
    """
    from runtime.commands.engine import rows_for_export

    return rows_for_export(bundle)
