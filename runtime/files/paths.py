"""Paths as users write them, and as messages show them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

from runtime.errors import SHOWN, BundleError

_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # categories: controls, halves, line separators


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


def line(text: object) -> str:
    """``text`` on one line: line breaks, controls and half surrogates are escaped."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _HIDDEN else char
        for char in str(text)
    )


def name_of(path: Path) -> str:
    """A path as text that is UTF-8: what is not shows as ``\\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
