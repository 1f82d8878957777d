"""Reads what must be known about an .ort file (ONNX Runtime's flatbuffer) before the engine may
open it.

The format is onnxruntime's ``ort.fbs``: a file identifier at byte 4, and strings stored as plain
bytes. The engine verifies the flatbuffer itself; what it would not refuse is an operator that loads
another file or runs code.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from runtime.errors import BundleError
from runtime.files.manifest import MAX_FILE_BYTES
from runtime.files.onnx import UNSAFE_OPS
from runtime.files.regular import open_regular

IDENTIFIER = b"ORTM"
SUFFIX = ".ort"


def check(path: Path) -> None:
    """Refuses a file that is not in ORT format, or names an operator that reaches outside it.

    A flatbuffer string is its length (uint32), its bytes and a zero, so that names are found
    without a schema.

    Raises:
        BundleError: says which.
    """
    try:
        with (
            open_regular(path, MAX_FILE_BYTES) as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            if mapped[4:8] != IDENTIFIER:
                raise BundleError(
                    f"{path} is not an ORT format model",
                    got=bytes(mapped[4:8]),
                    expected=IDENTIFIER,
                    remedy="copy the bundle again",
                )
            named = (name for name in sorted(UNSAFE_OPS) if mapped.find(_string(name)) >= 0)
            unsafe = next(named, None)
    except OSError as error:
        raise BundleError(f"cannot read {path}", got=error.strerror or error) from error
    except ValueError as error:  # an empty file cannot be mapped
        raise BundleError(
            f"{path} is not an ORT format model", got=error, remedy="copy the bundle again"
        ) from error
    if unsafe:
        raise BundleError(
            f"{path} asks for code outside the engine", got=unsafe, expected="standard operators"
        )


def _string(text: str) -> bytes:
    return len(text).to_bytes(4, "little") + text.encode() + b"\0"
