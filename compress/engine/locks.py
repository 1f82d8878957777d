"""Leases between processes that share a work folder, also over a network.

A lease is a file that its holder made and refreshes; ``flock`` does nothing on some network file
systems. The lease of a process of this machine that has died is taken at once, that of another
machine once nobody has refreshed it for a minute.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from compress.engine.errors import StoreError

if TYPE_CHECKING:
    from filelock import SoftFileLease

LEASE_S = 60.0  # without a refresh, until another machine's lease is taken
GRACE_S = 5.0
POLL_S = 0.2
RECORD = re.compile(r"^(pid|host)=(\S+)$", re.MULTILINE)


@contextmanager
def lock(
    path: Path,
    what: str,
    *,
    wait_s: float = 0.0,
    remedy: str = "wait for it, or give this build another folder with --work-dir",
) -> Iterator[Held]:
    """Holds the lease at ``path``; that of another machine is waited for, until it expires.

    Args:
        wait_s: how long a process of this machine is waited for.

    Raises: StoreError: another process, which it names, holds the lease.
    """
    from filelock import SoftFileLease, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lease = SoftFileLease(path, lease_duration=LEASE_S, thread_local=False)
    try:
        try:
            lease.acquire(timeout=wait_s)
        except Timeout:
            if _lives_here(*_holder(path)):
                raise
            lease.acquire(timeout=LEASE_S + GRACE_S, poll_interval=LEASE_S / 60)
    except Timeout as error:
        pid, host = _holder(path)
        there = "" if _is_here(host) else f" of {host}"
        raise StoreError(
            f"{what} is being made by another process in the same work folder",
            got=f"process {pid}{there} holds {path}",
            remedy=remedy,
        ) from error
    try:
        yield Held(lease, what)
    finally:
        lease.release()


def wait_for(path: Path, what: str) -> None:
    """Waits until nobody holds the lease at ``path``; does not keep it."""
    while path.exists():
        with suppress(StoreError), lock(path, what):
            return
        time.sleep(POLL_S)


class Held:
    """A lease that is held, as far as this process knows."""

    def __init__(self, lease: SoftFileLease, what: str) -> None:
        self._lease = lease
        self._what = what

    def require(self) -> None:
        """StoreError if another process has taken over, e.g. after a pause of this machine."""
        if self._lease.compromise is not None:
            raise StoreError(
                f"another process has taken over {self._what}",
                got="this one did not answer for a while",
                remedy="let the other one finish, then repeat the command",
            )


def _holder(path: Path) -> tuple[str, str]:
    """Process and machine in a lease; "?" for what cannot be read."""
    found: dict[str, str] = {}
    with suppress(OSError):
        found = dict(RECORD.findall(path.read_text(encoding="utf-8", errors="replace")))
    return found.get("pid", "?"), found.get("host", "?")


def _is_here(host: str) -> bool:
    """Whether a lease names this machine; behind a "?" stands the namespace of its processes."""
    return host.partition("?")[0] == socket.gethostname()


def _lives_here(pid: str, host: str) -> bool:
    if not _is_here(host) or not pid.isdecimal():
        return False
    if os.name == "nt":
        return True  # there signal 0 is no question
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
