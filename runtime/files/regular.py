"""Opens files of unknown origin: regular files of a bounded size, no device, pipe or folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from runtime.errors import BundleError

COPY_AGAIN = "copy the bundle again, or rebuild it"
# Without O_NONBLOCK, opening a pipe without a writer waits for ever.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def open_regular(file: Path, max_bytes: int) -> BinaryIO:
    """``file``, open for reading and checked by its descriptor: a later rename changes nothing.

    Raises: BundleError: absent, not a regular file, or larger than ``max_bytes``.
    """
    try:
        descriptor = os.open(file, _FLAGS)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"cannot read {file}", got=reason or error, remedy=COPY_AGAIN) from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            got = "not a regular file"
            raise BundleError(f"cannot read {file}", got=got, expected="a file", remedy=COPY_AGAIN)
        if facts.st_size > max_bytes:
            raise _too_large(file, f"{facts.st_size:,} bytes", max_bytes)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(file: Path, max_bytes: int) -> bytes:
    """The content of a regular file.

    Raises: BundleError: as ``open_regular``, or it cannot be read to its end.
    """
    with open_regular(file, max_bytes) as stream:
        try:
            data = stream.read(max_bytes + 1)
        except OSError as error:
            got = error.strerror or error
            raise BundleError(f"cannot read {file}", got=got, remedy=COPY_AGAIN) from error
    if len(data) > max_bytes:
        raise _too_large(file, "a file that grows", max_bytes)
    return data


def _too_large(file: Path, got: str, max_bytes: int) -> BundleError:
    return BundleError(f"{file} is too large", got=got, expected=f"at most {max_bytes:,} bytes")
