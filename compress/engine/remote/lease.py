"""A lease on an object: made only if it is not there, refreshed by its holder.

A contender takes over what it has seen unchanged for a minute of its own clock. A holder that was
only asleep may go on for a while: both make the same bytes, and what is finished is never changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from compress.engine.errors import StoreError
from compress.engine.remote.mirror import StageMirror
from compress.engine.remote.storage import Remote

LEASE_S = 60.0  # without a change, until another machine's lease is taken
POLL_S = 1.0
Note = Callable[[str], None]


@dataclass
class RemoteLease:
    """The lease of this process on ``place``, an object's name in parts."""

    remote: Remote
    place: tuple[str, ...]
    what: str
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    beats: int = 0
    lost: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)

    def acquire(self, is_done: Callable[[], bool], note: Note) -> bool:
        """Waits for the lease; False if meanwhile the work is done."""
        seen, since = b"", time.monotonic()
        while not self._create():
            if is_done():
                return False
            try:
                now = self.remote.read(*self.place)
            except FileNotFoundError:
                continue
            if not seen:
                note(f"{self.what} is being made by {_holder(now)}: waiting for it")
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > LEASE_S:
                note(f"{self.what}: {_holder(now)} has stopped; its work is taken over")
                self.remote.remove(*self.place)
                continue
            time.sleep(POLL_S)
        threading.Thread(target=self._beat, daemon=True).start()
        return True

    def require(self) -> None:
        """StoreError if another process has taken over."""
        if self.lost or not self._is_ours():
            remedy = "let the other one finish, then repeat the command"
            got = "this one did not answer for a while"
            raise StoreError(f"another process has taken over {self.what}", got=got, remedy=remedy)

    def release(self) -> None:
        """Ends the lease, if it is still ours."""
        self._ended.set()
        with contextlib.suppress(StoreError):
            if self._is_ours():
                self.remote.remove(*self.place)

    def _content(self) -> bytes:
        holder = {"host": socket.gethostname(), "pid": os.getpid()}
        return json.dumps({**holder, "token": self.token, "beat": self.beats}).encode()

    def _create(self) -> bool:
        try:
            with self.remote.told():
                self.remote.files.pipe_file(
                    self.remote.path(*self.place), self._content(), mode="create"
                )
        except FileExistsError:
            return False
        return True

    def _is_ours(self) -> bool:
        try:
            return bool(json.loads(self.remote.read(*self.place))["token"] == self.token)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False

    def _beat(self) -> None:
        while not self._ended.wait(LEASE_S / 3):
            with contextlib.suppress(StoreError):  # of a network that fails for a while
                if not self._is_ours():
                    self.lost = True
                    return
                self.beats += 1
                with self.remote.told():
                    self.remote.files.pipe_file(self.remote.path(*self.place), self._content())


@contextlib.contextmanager
def leased(
    stage: StageMirror, what: str, is_done: Callable[[], bool], note: Note
) -> Iterator[RemoteLease | None]:
    """Holds the lease of a stage; gives None if another one has finished it meanwhile."""
    lease = RemoteLease(stage.remote, stage.lease, what)
    if not lease.acquire(is_done, note):
        yield None
        return
    try:
        yield lease
    finally:
        lease.release()


def _holder(content: bytes) -> str:
    try:
        record = json.loads(content)
        return f"process {record['pid']} of {record['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
