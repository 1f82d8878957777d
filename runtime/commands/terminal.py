"""What commands share: arguments, what they print, how they end when they are stopped."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from runtime.files.paths import line

AGAIN_S = 2  # until a stop is raised again


class Stopped(BaseException):
    """SIGTERM or SIGHUP, as an exception, so that temporary files go and children end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__("terminated" if number == signal.SIGTERM else "the terminal is gone")


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
    """Inside, SIGTERM and SIGHUP raise ``Stopped``; what they or SIGINT raise is not lost.

    Libraries swallow exceptions in callbacks and destructors, so it is raised again after a while.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "alarm"):
        yield
        return
    raised: list[BaseException] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGALRM:
            is_typed = number == signal.SIGINT
            raised.append(KeyboardInterrupt() if is_typed else Stopped(number))
        signal.alarm(AGAIN_S)
        raise raised[-1]

    caught = [signal.SIGTERM, signal.SIGALRM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in the background
        caught.append(signal.SIGINT)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup stays in force
        caught.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in caught}
    try:
        yield
    except Exception as error:
        if raised:  # an import that was cut off fails in some other way
            raise raised[-1] from error
        raise
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)


def add_shared(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of commands that run a bundle."""
    parser.add_argument("bundle", type=Path, help="bundle folder, or a zipped one")
    cores = "compute threads (default: the usable physical cores)"
    parser.add_argument("--threads", type=int, help=cores)
    parser.add_argument("--json", action="store_true", help="print JSON")
