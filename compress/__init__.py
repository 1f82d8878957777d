"""clip2edge: a large CLIP teacher and a handful of images become a tiny quantized classifier, with
the proof.

>>> import compress
>>> run = compress.build(dataset="petals", shots=4)          # doctest: +SKIP
>>> run.report["accuracy"]["student_int8"]["top1"]           # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "build", "plan"]

if TYPE_CHECKING:
    from compress.api import build, plan


def __getattr__(name: str) -> Any:
    """Loads ``build`` and ``plan`` on first use, so that ``import compress`` is instant."""
    if name in ("build", "plan"):
        from compress import api

        return getattr(api, name)
    raise AttributeError(f"module 'compress' has no attribute {name!r}")
