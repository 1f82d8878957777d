"""The manifest of a bundle for tests that change it on purpose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtime.files.manifest import CHECK, MANIFEST


def manifest_of(folder: Path) -> dict[str, Any]:
    """What manifest.json says, without the check that a change would break."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest.pop(CHECK, None)
    return manifest
