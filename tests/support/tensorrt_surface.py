"""The published members of TensorRT's Python bindings, and stand-ins that have no others.

The lists are in tests/data/tensorrt_api.json. Setting a member that a version lacks raises, so that
code written against TensorRT 10 and gone in 11 fails here as it would there.
"""

from __future__ import annotations

import json
from typing import Any

from paths import ROOT

SURFACE = json.loads((ROOT / "tests/data/tensorrt_api.json").read_text())["versions"]
VERSIONS = {10: "10.3.0", 11: "11.4.0.106"}


class Published:
    """Base of all stand-ins: refuses members that the real class of this version does not have."""

    _real = ""
    _version = ""

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in SURFACE[self._version][self._real]:
            raise AttributeError(f"{self._real} of TensorRT {self._version} has no {name}")
        object.__setattr__(self, name, value)


def check_surface(cls: type, version: str) -> list[str]:
    """Public members of a stand-in that the published class does not have."""
    return sorted(
        {name for name in dir(cls) if not name.startswith("_")} - set(SURFACE[version][cls._real])
    )
