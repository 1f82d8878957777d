"""Opens files of unknown origin: regular files of a bounded size only, never a device, a pipe or a
folder.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from runtime.errors import BundleError

COPY_AGAIN = "copy the bundle again, or rebuild it"
_WITHOUT_WAITING = getattr(
    os, "O_NONBLOCK", 0
)  # opening a pipe that nobody writes to would wait for ever
_BINARY = getattr(os, "O_BINARY", 0)


def open_regular(file: Path, max_bytes: int) -> BinaryIO:
    """``file`` opened for reading; what was checked is what is read, whatever happens to the name
    meanwhile.

    Raises:
        BundleError: absent, not a regular file, or larger than ``max_bytes``.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | _BINARY | _WITHOUT_WAITING)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(f"cannot read {file}", got=reason or error, remedy=COPY_AGAIN) from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise BundleError(
                f"cannot read {file}",
                got="not a regular file",
                expected="a file",
                remedy=COPY_AGAIN,
            )
        if facts.st_size > max_bytes:
            raise BundleError(
                f"{file} is too large",
                got=f"{facts.st_size:,} bytes",
                expected=f"at most {max_bytes:,} bytes",
            )
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(file: Path, max_bytes: int) -> bytes:
    """The whole of a regular file; errors as ``open_regular``, and when it cannot be read to its
    end.
    """
    with open_regular(file, max_bytes) as stream:
        try:
            data = stream.read(max_bytes + 1)
        except OSError as error:
            raise BundleError(
                f"cannot read {file}", got=error.strerror or error, remedy=COPY_AGAIN
            ) from error
    if len(data) > max_bytes:
        raise BundleError(
            f"{file} is too large", got="a file that grows", expected=f"at most {max_bytes:,} bytes"
        )
    return data
