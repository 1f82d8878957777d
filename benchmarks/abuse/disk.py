"""A disk that is filled at a chosen moment: a tmpfs, and a hook in the process that builds.

The hook only chooses the moment. What fails is the kernel's own write, so native writers fail too.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLONE_NEWNS = 0x20000  # linux/sched.h
PAGE = 4096  # what a tmpfs counts in
MAX_FILES = 4096
NEVER = -1
FILLER = "filler"  # the folder that takes the space
#: audit event that needs space (docs.python.org/3/library/audit_events.html) -> where its path is
EVENTS = {"open": 0, "os.mkdir": 0, "os.rename": 1, "os.symlink": 1, "os.link": 1}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class CannotMount(Exception):
    """No file system of its own can be had here."""


@contextmanager
def mounted(disk: Path, megabytes: int) -> Iterator[Path]:
    """A tmpfs on ``disk``, seen by this process and its children alone; or CannotMount."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise CannotMount("no mount namespace of its own (needs root)")
    disk.mkdir(parents=True, exist_ok=True)
    _mount("--make-rprivate", "/")
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m,nr_inodes={MAX_FILES}", "tmpfs", str(disk))
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@dataclass(frozen=True)
class Write:
    """Something that needs space: its number, what it does to which file, the bytes used before."""

    number: int
    event: str
    path: str
    used: int


@dataclass
class Watch:
    """Counts the writes below ``work`` and fills the disk at one of them.

    Attributes:
        at: the number of the write before which the disk fills up.
        leave: bytes that stay free.
        files: takes the free inodes in place of the free bytes.
        record: where to write a line a write.
    """

    disk: Path
    work: Path
    at: int = NEVER
    leave: int = 0
    files: bool = False
    record: Path | None = None
    count: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def filler(self) -> Path:
        """What takes the space; there once the disk was filled."""
        return self.disk / FILLER

    def begin(self) -> None:
        """From now on, in this process, for good."""
        self._top = str(self.work)
        self._output = (
            None if self.record is None else self.record.open("w", encoding="utf-8", buffering=1)
        )
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        position = EVENTS.get(event)
        if position is None or (event == "open" and not (arguments[2] or 0) & WRITES):
            return
        path = arguments[position]
        if not isinstance(path, (str, bytes, os.PathLike)):  # a file descriptor
            return
        name = os.fsdecode(path)
        if not os.path.abspath(name).startswith(self._top):
            return
        number, self.count = self.count, self.count + 1
        if self._output is not None:
            self._output.write(f"{number}\t{event}\t{name}\t{used_bytes(self.disk)}\n")
        if number == self.at:
            fill(self.disk, self.leave, self.files)


def read_record(record: Path) -> list[Write]:
    """The writes that a watched process made."""
    rows = [line.split("\t") for line in record.read_text(encoding="utf-8").splitlines()]
    return [Write(int(number), event, path, int(used)) for number, event, path, used in rows]


def used_bytes(disk: Path) -> int:
    state = os.statvfs(disk)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def fill(disk: Path, leave: int = 0, files: bool = False) -> None:
    """Takes all free space but ``leave`` bytes, or all inodes."""
    state = os.statvfs(disk)
    folder = disk / FILLER
    os.mkdir(folder)
    if files:
        for index in range(state.f_ffree - 1):
            os.close(os.open(f"{folder}/{index}", os.O_CREAT | os.O_WRONLY))
        return
    size = state.f_bfree * state.f_frsize - leave
    handle = os.open(folder / "bytes", os.O_CREAT | os.O_WRONLY)
    os.posix_fallocate(handle, 0, max(PAGE, size // PAGE * PAGE))
    os.close(handle)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotMount(f"mount {arguments[0]}: {done.stderr.strip()}")
