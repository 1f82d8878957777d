"""A folder takes another's place: in one step where the system has one, else with a way back."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from runtime.files.atomic import flush, flush_folder

AT_FDCWD = -100  # linux/fcntl.h: paths are relative to the current folder
RENAME_EXCHANGE = 2  # linux/fs.h


def swap(new: Path, present: Path) -> None:
    """Folder ``new`` and folder ``present``, on one file system, change places.

    Where the system cannot exchange them in one step, a kill between two renames leaves the old
    one under a hidden name, from which ``restore`` takes it back.

    Raises: OSError: a folder cannot be renamed; both are where they were.
    """
    for file in (path for path in new.rglob("*") if path.is_file()):
        flush(file)
    if not _exchanged(new, present):
        old = _hidden(present)
        os.replace(present, old)
        try:
            os.replace(new, present)
        except OSError:
            os.replace(old, present)
            raise
        os.replace(old, new)
    flush_folder(present.parent)


def restore(folder: Path) -> None:
    """Takes back what a ``swap`` that was killed between its renames left."""
    if not os.path.lexists(folder) and _hidden(folder).is_dir():
        os.replace(_hidden(folder), folder)


def _hidden(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")  # as export/bundle/publish.py looks for it


def _exchanged(first: Path, second: Path) -> bool:
    """Whether Linux's renameat2 has exchanged the two; other systems and FAT have no such call."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    names = (os.fsencode(path) for path in (first, second))
    one, other = (ctypes.c_char_p(name) for name in names)
    done: int = call(AT_FDCWD, one, AT_FDCWD, other, ctypes.c_uint(RENAME_EXCHANGE))
    return done == 0
