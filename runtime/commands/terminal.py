"""What a command prints, and how it ends when it is stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from runtime.files.paths import line


class Stopped(BaseException):
    """SIGTERM, as an exception, so that temporary files go and children end."""


def show_everything() -> None:
    """Lets the output stand in for characters that the terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        change: Any = getattr(stream, "reconfigure", None)
        if change is not None:
            change(errors="backslashreplace")


def complain(text: object) -> None:
    """One line on stderr, if there is one."""
    with suppress(OSError, ValueError, AttributeError):
        print(line(text), file=sys.stderr, flush=True)


def drop_output() -> None:
    """Gives up what stdout did not take: without this Python complains at exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside, SIGTERM raises ``Stopped``."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
