"""How a command starts and ends: signals, terminals, errors and exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType

from compress.engine.ranks import follows
from runtime.files.home import expanded
from runtime.files.system import require_current_folder

TRACEBACK = "CLIP2EDGE_TRACEBACK"  # set: a bug ends in a traceback
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
STOPPED = "stopped: run the same command again to go on where it was"
AGAIN_S = 2  # until a stop is raised again
_signals: list[int] = []  # that asked for the end


class Stopped(BaseException):
    """A signal asks for the end; no KeyboardInterrupt, which typer swallows."""


def main() -> None:
    """Runs the command line; whatever ends it is one line on stderr and an exit code.

    1: a budget is not kept; 2: any other error; 128 + number of the signal that stopped it.
    A rank of torchrun but the first dies of a signal at once: it holds nothing, and says nothing.
    """
    stop = signal.SIG_DFL if follows() else _stop
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # a terminal may lack characters
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    for name in SIGNALS if hasattr(signal, "alarm") else ():  # Windows stops as ever
        with contextlib.suppress(ValueError):  # not the main thread
            number: signal.Signals = getattr(signal, name)
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup stays in force
                signal.signal(number, stop)
    try:
        _command_line()
    except Stopped:
        signal.alarm(0)
        print(STOPPED, file=sys.stderr)
        raise SystemExit(128 + _signals[0]) from None
    except BrokenPipeError:  # head or less has left; without this Python complains at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        # an import that was cut off fails in some other way
        line, code = (STOPPED, 128 + _signals[0]) if _signals else _ending(error)
        rank = f"rank {os.environ.get('RANK')}: " if follows() else ""
        print(f"{rank}{line}", file=sys.stderr)
        raise SystemExit(code) from None


def _command_line() -> None:
    """The commands; without the packages of ``[build]``, says which of them works here."""
    require_current_folder()
    try:
        from compress.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        if sys.argv[1:2] == ["doctor"]:
            from compress.cli.doctor import doctor

            raise SystemExit(doctor("--json" in sys.argv[2:])) from None
        mend = "pip install 'clip2edge[build]' (on a device: python -m runtime)"
        print(f"compress needs {error.name}: {mend}", file=sys.stderr)
        raise SystemExit(2) from error
    sys.argv[1:] = expanded(sys.argv[1:])
    app()


def _ending(error: Exception) -> tuple[str, int]:
    """The last line of a command that fails, and its exit code."""
    from compress.engine.errors import BudgetUnmetError, ExplainedError
    from compress.engine.system_errors import explained

    if isinstance(error, BudgetUnmetError):
        return f"FAIL: {error}", 1
    known = explained(error) or error
    if isinstance(known, ExplainedError):
        return f"{type(known).__name__}: {known}", 2
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
    text = " ".join(str(error).split())[:300]
    return (
        f"unexpected {type(error).__name__}: {text} · at {where} · this is a bug: please report "
        f"what {TRACEBACK}=1 and the same command print",
        2,
    )


def _stop(number: int, frame: FrameType | None) -> None:
    if number != signal.SIGALRM:
        _signals.append(number)
        signal.signal(number, signal.SIG_DFL)  # the second one does not wait
    # callbacks and destructors swallow exceptions: again after a while
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(AGAIN_S)
    raise Stopped
