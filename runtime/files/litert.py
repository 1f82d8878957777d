"""Checks a LiteRT model (.tflite, a flatbuffer) before the engine may open it.

LiteRT verifies the flatbuffer itself. Which operators it has, the engine tells once it is loaded
and before anything runs: ``runtime.backends.litert`` allows those of a classifier alone.
"""

from __future__ import annotations

from pathlib import Path

from runtime.errors import BundleError
from runtime.files.manifest import MAX_FILE_BYTES
from runtime.files.regular import COPY_AGAIN, open_regular

SUFFIX = ".tflite"
IDENTIFIER = b"TFL3"  # at byte 4, schema.fbs


def check(path: Path) -> None:
    """Raises a BundleError if a file is no LiteRT model."""
    with open_regular(path, MAX_FILE_BYTES) as stream:
        head = stream.read(8)
    if head[4:] != IDENTIFIER:
        what = f"{path} is not a LiteRT model"
        raise BundleError(what, got=head[4:], expected=IDENTIFIER, remedy=COPY_AGAIN)
