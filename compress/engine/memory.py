"""Memory that tensors leave stays with the process, for the next ones.

glibc gives every block of more than a few MB back to the system at once, and takes a new one, which
the kernel fills with zeros page by page. A network's activations are such blocks: each layer pays
for it anew: half of the time of EfficientNet-Lite0 on 32 images at 224 px, on a virtual machine
(``benchmarks/kept_memory.py``).
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# of mallopt(3)
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1}
# glibc's own, as far as they have moved in a process that has freed large blocks
USUAL = {MMAP_MAX: 65_536, MMAP_THRESHOLD: 32 * 2**20, TRIM_THRESHOLD: 64 * 2**20}

_lock = threading.Lock()
_holders = 0


@contextmanager
def kept_memory() -> Iterator[None]:
    """Meanwhile freed memory is kept; it goes back to the system at the end.

    Does nothing where malloc is not glibc's, or where the environment sets it up (``MALLOC_*``,
    ``GLIBC_TUNABLES``).
    """
    libc = _glibc()
    if libc is None or _set_up():
        yield
        return
    _hold(libc, 1)
    try:
        yield
    finally:
        _hold(libc, -1)


def keep_memory() -> None:
    """The same for good, for a worker process."""
    libc = _glibc()
    if libc is not None and not _set_up():
        _hold(libc, 1)


def _hold(libc: ctypes.CDLL, change: int) -> None:
    global _holders
    with _lock:
        before, _holders = _holders, _holders + change
        if bool(before) == bool(_holders):
            return
        for option, value in (KEPT if _holders else USUAL).items():
            libc.mallopt(option, value)
        if not _holders:
            libc.malloc_trim(0)


def _set_up() -> bool:
    return any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library of this process if it is glibc (Linux, not musl)."""
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt") else None
    except (OSError, TypeError):  # Windows has no process-wide library
        return None
