"""Files that appear whole or not at all, and survive a power cut once they have appeared."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

NAME_BYTES = 255  # longest file name of common file systems
TEMPORARY = re.compile(r"\.(.*\.)?\d+\.\d+\.tmp")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write; one rename puts it in place of ``path`` afterwards.

    An exception inside leaves ``path`` as it was and removes the temporary file. A link stays, and
    the file it leads to is replaced. A character device and this program's own output
    (``/dev/stdout``) stay as well, and take the bytes once they are whole.

    Raises: OSError: nothing can be written there.
    """
    if _is_stream(path):
        with tempfile.TemporaryDirectory(prefix="clip2edge-") as folder:
            yield Path(folder) / "whole"
            with _stream(path) as stream, (Path(folder) / "whole").open("rb") as whole:
                shutil.copyfileobj(whole, stream)
        return
    goal = Path(os.path.realpath(path))
    temporary = _beside(goal)
    try:
        yield temporary
        flush(temporary)
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(goal, temporary)
        os.replace(temporary, goal)
        flush_folder(goal.parent)
    finally:
        temporary.unlink(missing_ok=True)


def require_target(path: Path) -> None:
    """Raises the OSError that ``atomic`` would end with at ``path``; writes nothing there."""
    if _is_stream(path):
        _stream(path).close()
        return
    temporary = _beside(Path(os.path.realpath(path)))
    try:
        temporary.touch()
    except OSError as error:  # about the place, not about our name in it
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def is_temporary(name: str) -> bool:
    """Whether a file name is one that ``atomic`` gives, e.g. what a killed program left."""
    return TEMPORARY.fullmatch(name) is not None


def _is_stream(path: Path) -> bool:
    """Whether bytes go into what is at ``path``, not into its place.

    Raises: OSError: it takes none.
    """
    try:
        facts = os.stat(path)
    except FileNotFoundError:  # also behind a link that leads to a new file
        return False
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if _own(facts) is not None or stat.S_ISCHR(facts.st_mode):
        return True
    if not stat.S_ISREG(facts.st_mode):
        raise FileExistsError(errno.EEXIST, "a pipe, a disk or a socket, no file", str(path))
    return False


def _own(facts: os.stat_result) -> int | None:
    """The descriptor of this program's output that a file is, e.g. as ``/dev/stdout``."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # closed
            if os.path.samestat(os.fstat(descriptor), facts):
                return descriptor
    return None


def _stream(path: Path) -> BinaryIO:
    own = _own(os.stat(path))
    if own is not None:  # with its position: opened anew it would start over
        return os.fdopen(os.dup(own), "wb")
    return path.open("wb")


def _beside(goal: Path) -> Path:
    """A name in the same folder, on the same disk."""
    temporary = goal.with_name(f".{goal.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    if len(os.fsencode(temporary.name)) > NAME_BYTES:
        temporary = goal.with_name(f".{os.getpid()}.{threading.get_ident()}.tmp")
    return temporary


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
