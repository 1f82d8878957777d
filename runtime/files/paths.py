"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from runtime.errors import SHOWN, BundleError


def user_path(path: Any) -> Path:
    """``path`` with ``~`` as the home folder, which a shell leaves in ``--out=~/x``.

    Raises: BundleError: neither text nor a path.
    """
    try:
        plain = Path(os.fsdecode(path))
    except (TypeError, ValueError) as error:
        got = repr(path)[:SHOWN]
        raise BundleError("path of a bundle", got=got, expected="text or a path") from error
    try:
        return plain if os.path.lexists(plain) else plain.expanduser()
    except (RuntimeError, ValueError):  # no such user; a null byte
        return plain
