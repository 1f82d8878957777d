"""Paths as users write them, and as messages show them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Any

from runtime.errors import SHOWN, BundleError, EdgeError
from runtime.files.home import user_path

_BYTE = re.compile(r"\\x[0-9a-f]{2}")  # what `name_of` writes
_ESCAPE = re.compile(rf"{_BYTE.pattern}|\\[tnr]|\\u[0-9a-f]{{4}}")  # and on a line
_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # categories: controls, halves, line separators


BUNDLE = "bundle"  # what a run calls its own
MANIFEST = "manifest.json"


def _is_file(path: Path) -> bool:
    """False also for what no file system can name."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def bundle_path(path: Any) -> Path:
    """The path of a bundle, whatever it was given as; of a run's folder that of its bundle.

    Raises: BundleError: neither text nor a path, or an empty text.
    """
    try:
        given = user_path(os.fsdecode(path))
        inside = given / BUNDLE
        is_run = not _is_file(given / MANIFEST) and _is_file(inside / MANIFEST)
        return inside if is_run else given
    except (TypeError, ValueError, EdgeError) as error:
        got, expected = repr(path)[:SHOWN], "text or a path that is not empty"
        raise BundleError("path of a bundle", got=got, expected=expected) from error


def line(text: object) -> str:
    """``text`` on one line: line breaks, controls and half surrogates are escaped."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _HIDDEN else char
        for char in str(text)
    )


def name_of(path: Path, on_a_line: bool = False) -> str:
    """A path as text that is UTF-8: what is not shows as ``\\xff``. No two names look alike.

    Other names stay as they are, unless one reads like an escape: ``\\xff`` shows as ``\\\\xff``.

    Args:
        on_a_line: line breaks and the like are escaped too.
    """
    given = os.fsencode(path)
    text = given.decode("utf-8", "surrogateescape")
    hidden, escape = (_HIDDEN, _ESCAPE) if on_a_line else (frozenset({"Cs"}), _BYTE)
    looks_so = os.sep != "\\" and escape.search(text)
    if not looks_so and all(unicodedata.category(char) not in hidden for char in text):
        return text
    return "".join(_written_out(char, hidden) for char in text)


def _written_out(char: str, hidden: Collection[str]) -> str:
    if char == "\\":
        return "\\\\"
    if unicodedata.category(char) not in hidden:
        return char
    if "\udc80" <= char <= "\udcff":  # a byte
        return f"\\x{ord(char) - 0xDC00:02x}"
    return f"\\u{ord(char):04x}" if ord(char) > 0x7F else line(char)
