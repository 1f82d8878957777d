"""Opens files of unknown origin: regular files of a bounded size, no device, pipe or folder."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

from runtime.errors import BundleError

COPY_AGAIN = "copy the bundle again, or rebuild it"
# Without O_NONBLOCK, opening a pipe without a writer waits for ever.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


class NotRegularError(OSError):
    """A folder, a pipe, a socket or a device where a file is needed."""


def open_regular(file: Path, max_bytes: int) -> BufferedReader:
    """``file``, open for reading and checked by its descriptor: a later rename changes nothing.

    Raises: BundleError: absent, not a regular file, or larger than ``max_bytes``.
    """
    try:
        stream = open_file(file)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        expected = "a file" if isinstance(error, NotRegularError) else None
        why: Any = {"got": reason or error, "expected": expected, "remedy": COPY_AGAIN}
        raise BundleError(f"cannot read {file}", **why) from error
    size = os.fstat(stream.fileno()).st_size
    if size > max_bytes:
        stream.close()
        raise _too_large(file, f"{size:,} bytes", max_bytes)
    return stream


def open_file(file: str | Path) -> BufferedReader:
    """``file``, open for reading, if it is a regular one: others may never end, or never start.

    Raises: OSError: absent, or a NotRegularError.
    """
    descriptor = os.open(file, _FLAGS)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise NotRegularError(errno.EINVAL, "not a regular file", str(file))


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
