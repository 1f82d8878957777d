"""The processors that this process may run on, restricted during a measurement."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import BackendError

MAX_CPU = 4096


def parse_cpus(text: str) -> tuple[int, ...]:
    """Processor numbers of ``"0,1"`` or ``"0,4-7"``, the kernel's own notation.

    Raises: BackendError: anything else.
    """
    cpus: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last >= MAX_CPU:
            expected = "processor numbers such as 0,1 or 4-7"
            raise BackendError("affinity", got=repr(text), expected=expected)
        cpus.update(range(first, last + 1))
    return tuple(sorted(cpus))


@contextmanager
def pinned(cpus: Sequence[int] | None) -> Iterator[None]:
    """Runs every thread of this process, new ones included, on ``cpus``; None changes nothing.

    Raises: BackendError: no such processor here, or a system that cannot pin.
    """
    if cpus is None:
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise BackendError("affinity", got="this system cannot pin a process", expected="Linux")
    before = {thread: os.sched_getaffinity(thread) for thread in _threads()}
    if not cpus or set(cpus) - before[0]:
        usable = ",".join(map(str, sorted(before[0])))
        raise BackendError("affinity", got=sorted(cpus), expected=f"some of {usable}")
    _pin(dict.fromkeys(before, set(cpus)))
    try:
        yield
    finally:
        _pin({**dict.fromkeys(_threads(), before[0]), **before})


def _threads() -> list[int]:
    """0, the caller, first; affinity belongs to a thread, and a pool that exists keeps its own."""
    tasks = Path("/proc/self/task")
    return [0, *(int(task.name) for task in tasks.glob("[0-9]*"))] if tasks.is_dir() else [0]


def _pin(affinity: dict[int, set[int]]) -> None:
    for thread, cpus in affinity.items():
        try:
            os.sched_setaffinity(thread, cpus)
        except ProcessLookupError:
            continue  # the thread ended meanwhile
