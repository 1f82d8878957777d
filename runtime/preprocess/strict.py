"""Pillow refuses truncated files while we decode, whatever other libraries set."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import ImageFile


class _Strict:
    """Holds ``ImageFile.LOAD_TRUNCATED_IMAGES`` off while any thread decodes.

    The switch belongs to the process: the first thread that decodes turns it off, the last one
    turns it back. Whoever finds it on in between counts that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = False
        self._turned_on = 0  # by others, while we decoded

    def enter(self) -> int:
        with self._lock:
            if self._users:
                self._count()
            else:
                self._before = ImageFile.LOAD_TRUNCATED_IMAGES
            self._users += 1
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            return self._turned_on

    def leave(self) -> int:
        with self._lock:
            self._count()
            self._users -= 1
            ImageFile.LOAD_TRUNCATED_IMAGES = self._before and not self._users
            return self._turned_on

    def _count(self) -> None:
        if ImageFile.LOAD_TRUNCATED_IMAGES:
            self._turned_on += 1
            self._before = True


_STRICT = _Strict()


@contextmanager
def strict() -> Iterator[list[bool]]:
    """Decode inside; afterwards the list holds whether the switch stayed off: if not, once more."""
    held: list[bool] = []
    start = _STRICT.enter()
    try:
        yield held
    finally:
        held.append(_STRICT.leave() == start)
