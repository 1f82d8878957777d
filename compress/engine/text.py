"""What people write: paths with a tilde, and text in the encodings that editors save.

Notepad and Excel save UTF-8 with a byte order mark, UTF-16, or the Windows code page. The first two
say so themselves. The code page of Western Europe is read, with a warning, where every letter
beyond ASCII stands among ASCII letters; anything else would be a guess, so it is refused.
"""

from __future__ import annotations

import codecs
import errno
import json
import logging
import os
import re
import select
import stat
import textwrap
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from compress.engine.errors import Clip2EdgeError, ConfigError
from runtime.files.home import user_path

__all__ = ["decode_text", "read_text", "user_path"]

SAVE_AS = "save it as UTF-8 (Notepad: Save as, Encoding; Excel: CSV UTF-8)"
PIPE_S = 5.0  # until somebody writes to a pipe
MAX_BYTES = 64 * 2**20  # far beyond any list of names; not a video given by mistake

_MARKS = (  # the longer one first: UTF-32 starts as UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LETTERS = "\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e"
_WORD = re.compile(f"[A-Za-z{_LETTERS}]+")
_FOREIGN = re.compile(
    f"[^\\0-\u007f\u00a0{_LETTERS}\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u20ac]"
)
_CAPITAL_INSIDE = re.compile(
    "[a-z\u00df-\u00ff][\u00c0-\u00de\u0160\u0178\u017d]|[\u00df-\u00ff][A-Z]"
)
_log = logging.getLogger(__name__)


def shortened(text: object, most: int) -> str:
    """Text on one line of at most ``most`` characters, cut between words."""
    return textwrap.shorten(str(text), most, placeholder=" …")


def read_text(path: Path, error: type[Clip2EdgeError] = ConfigError) -> str:
    """The text of a file that a person wrote, with ``\\n`` at the end of lines and plain spaces.

    Raises: ``error``: it cannot be opened or decoded; says where and what to do.
    """
    try:
        with _opened(user_path(path)) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as cause:  # ValueError: a null character in the name
        got = (cause.strerror if isinstance(cause, OSError) else None) or cause
        remedy = "check the path: it must name a text file"
        raise error(f"{path} cannot be read", got=got, remedy=remedy) from cause
    if len(data) > MAX_BYTES:
        raise error(f"{path} is no list or settings", got=f"more than {MAX_BYTES:,} bytes")
    return decode_text(data, path, error)


def _opened(path: Path) -> BinaryIO:
    """A file, or a pipe that is written to: ``--config <(...)``; another would hang for ever."""
    at_once = getattr(os, "O_NONBLOCK", 0)
    file = open(  # noqa: SIM115 (the caller closes it)
        path, "rb", opener=lambda name, flags: os.open(name, flags | at_once)
    )
    if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
        if not select.select([file], [], [], PIPE_S)[0]:
            file.close()
            raise TimeoutError(errno.ETIMEDOUT, "a pipe that nothing is written to", str(path))
        os.set_blocking(file.fileno(), True)
    return file


def read_object(path: Path, error: type[Clip2EdgeError] = ConfigError) -> dict[str, Any]:
    """The JSON object in a file from elsewhere.

    Raises: ``error``: it cannot be read, or holds anything else.
    """
    try:
        value = json.loads(read_text(path, error))
    except (ValueError, RecursionError) as cause:
        raise error(f"{path} is not JSON", got=str(cause), expected="a JSON object") from cause
    if not isinstance(value, dict):
        got = type(value).__name__
        raise error(f"{path} is not what it should be", got=got, expected="a JSON object")
    return value


def decode_text(data: bytes, name: object, error: type[Clip2EdgeError] = ConfigError) -> str:
    """``read_text`` for bytes in memory; ``name`` is for the message."""
    encoding = next((kind for mark, kind in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as cause:
        western = _western(data) if encoding == "utf-8" and b"\0" not in data else None
        if western is None:
            what = f"{name} is no {encoding.removesuffix('-sig').upper()} text"
            raise error(what, got=_position(data, cause), remedy=SAVE_AS) from cause
        text = western
        example = next(line.strip()[:40] for line in text.splitlines() if not line.isascii())
        _warn(str(name), example)
    if "\0" in text:
        what = f"{name} holds null characters"
        got = f"the first in line {text[: text.index(chr(0))].count(chr(10)) + 1}"
        raise error(what, got=got, expected="text", remedy=SAVE_AS)
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ")


@lru_cache(maxsize=256)
def _warn(name: str, example: str) -> None:
    """Says once how a file is read: a build reads it several times."""
    _log.warning("note: %s is no UTF-8; read as Windows-1252, e.g. %r", name, example)


def _western(data: bytes) -> str | None:
    """Windows-1252, if its letters beyond ASCII stand among ASCII ones as in Western names."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return None
    if _FOREIGN.search(text) or _CAPITAL_INSIDE.search(text):
        return None
    for word in _WORD.findall(text):
        beyond = sum(not char.isascii() for char in word)
        if beyond > 1 and 3 * beyond > 2 * len(word):
            return None
    return text


def _position(data: bytes, cause: UnicodeDecodeError) -> str:
    before = data[: cause.start]
    line = before.count(b"\n") + 1
    byte = data[cause.start : cause.start + 1].hex() or "end"
    return f"byte 0x{byte} in line {line} ({cause.reason})"
