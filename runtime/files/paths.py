"""Paths as users write them, and as messages show them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

from runtime.errors import SHOWN, BundleError
from runtime.files.home import user_path

_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # categories: controls, halves, line separators


def bundle_path(path: Any) -> Path:
    """The path of a bundle, whatever it was given as.

    Raises: BundleError: neither text nor a path.
    """
    try:
        return user_path(os.fsdecode(path))
    except (TypeError, ValueError) as error:
        got = repr(path)[:SHOWN]
        raise BundleError("path of a bundle", got=got, expected="text or a path") from error


def line(text: object) -> str:
    """``text`` on one line: line breaks, controls and half surrogates are escaped."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _HIDDEN else char
        for char in str(text)
    )


def name_of(path: Path) -> str:
    """A path as text that is UTF-8: what is not shows as ``\\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
