"""The command line, in a process of its own or in this one."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

from paths import ROOT

from compress.cli import entry


def cli(*arguments: str, work: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs ``compress`` with a work folder and without a network."""
    command = [sys.executable, "-m", "compress", *arguments]
    env = {**os.environ, **_surroundings(work), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=False)


def cli_here(*arguments: str, work: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has imported everything: seconds less for each command."""
    out, err = io.StringIO(), io.StringIO()
    numbers = [getattr(signal, name) for name in entry.SIGNALS]
    handlers = [signal.getsignal(number) for number in numbers]
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["compress", *arguments]),
        mock.patch.dict(os.environ, _surroundings(work)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            entry.main()
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            for number, handler in zip(numbers, handlers, strict=True):
                signal.signal(number, handler)
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def _surroundings(work: Path) -> dict[str, str]:
    return {"CLIP2EDGE_WORK": str(work), "HF_HUB_OFFLINE": "1", "COLUMNS": "160"}
