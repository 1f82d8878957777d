"""Locks between processes that share a work folder."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from compress.engine.errors import StoreError

NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP})


@contextlib.contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Holds an advisory lock that the kernel drops when the process dies.

    A file system without such locks gets a file that names the holder; that of a dead one is taken.

    Raises: StoreError: another process, which it names, holds the lock.
    """
    from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    held: BaseFileLock = FileLock(path, fallback_to_soft=False)
    try:
        try:
            held.acquire(timeout=0)
            path.write_text(str(os.getpid()), encoding="utf-8")
        except (OSError, NotImplementedError) as error:
            if isinstance(error, Timeout) or getattr(error, "errno", errno.ENOSYS) not in NO_LOCKS:
                raise
            path = path.with_suffix(".holder")
            held = SoftFileLock(path)
            held.acquire(timeout=0)
    except Timeout as error:
        with contextlib.suppress(OSError):
            holder = path.read_text(encoding="utf-8", errors="replace").split()[:1]
        raise StoreError(
            f"{what} is being made by another process in the same work folder",
            got=f"process {(holder or ['?'])[0]} holds {path}",
            remedy="wait for it, or give this build another folder with --work-dir",
        ) from error
    try:
        yield
    finally:
        held.release()
