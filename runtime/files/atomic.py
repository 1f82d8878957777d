"""Files that appear whole or not at all, and survive a power cut once they have appeared."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME_BYTES = 255  # longest file name of common file systems


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` to write; one rename puts it in place afterwards.

    An exception inside leaves ``path`` as it was and removes the temporary file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    if len(os.fsencode(temporary.name)) > NAME_BYTES:
        temporary = path.with_name(f".{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Waits until the bytes of a file are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(path: Path) -> None:
    """Waits until the names in a folder are on the disk, where its file system can."""
    with contextlib.suppress(OSError):  # network file systems and Windows refuse
        flush(path)
