"""clip2edge: a CLIP teacher and a few images become a tiny quantized classifier, with the proof.

>>> import compress
>>> run = compress.build(dataset="petals", shots=4)          # doctest: +SKIP
>>> run.report["accuracy"]["student_int8"]["top1"]           # doctest: +SKIP
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if sys.version_info < (3, 11):
    raise ImportError(
        f"compress needs Python 3.11 or later, this is {sys.version.split()[0]} "
        "(runtime, which is all a device needs, works with 3.10)"
    )

__version__ = "0.1.0"
__all__ = ["__version__", "build", "plan", "settings_for"]

if TYPE_CHECKING:
    from compress.api import build, plan, settings_for


def __getattr__(name: str) -> Any:
    """Loads the calls on first use, so that ``import compress`` is instant."""
    if name in __all__:
        from compress import api

        return getattr(api, name)
    raise AttributeError(f"module 'compress' has no attribute {name!r}")
