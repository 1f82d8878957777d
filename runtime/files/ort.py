"""Checks an .ort file (ONNX Runtime's flatbuffer) before the engine may open it.

The format is onnxruntime's ``ort.fbs``: a file identifier at byte 4, strings as plain bytes. The
engine verifies the flatbuffer itself; it does not refuse operators that load files or run code.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from runtime.errors import BundleError
from runtime.files.manifest import MAX_FILE_BYTES
from runtime.files.onnx import UNBOUNDED_OPS, UNSAFE_OPS
from runtime.files.regular import open_regular

IDENTIFIER = b"ORTM"
SUFFIX = ".ort"


def check(path: Path) -> None:
    """Raises a BundleError if a file is no ORT format, or names an operator that reaches outside.

    A flatbuffer string is its length (uint32), its bytes and a zero: names need no schema.
    """
    wrong = f"{path} is not an ORT format model"
    again = "copy the bundle again"
    try:
        with (
            open_regular(path, MAX_FILE_BYTES) as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            if mapped[4:8] != IDENTIFIER:
                got = bytes(mapped[4:8])
                raise BundleError(wrong, got=got, expected=IDENTIFIER, remedy=again)
            refused = UNSAFE_OPS | UNBOUNDED_OPS
            names = {op: len(op).to_bytes(4, "little") + op.encode() + b"\0" for op in refused}
            unsafe = next((op for op in sorted(names) if mapped.find(names[op]) >= 0), None)
    except OSError as error:
        raise BundleError(f"cannot read {path}", got=error.strerror or error) from error
    except ValueError as error:  # an empty file cannot be mapped
        raise BundleError(wrong, got=error, remedy=again) from error
    if unsafe:
        what = f"{path} asks for code outside the engine"
        raise BundleError(what, got=unsafe, expected="standard operators")
