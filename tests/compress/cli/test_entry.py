"""How a command ends: one line and an exit code, whatever happened."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT

from compress.cli import entry
from compress.engine.errors import BudgetUnmetError, ConfigError
from runtime.errors import ImageError


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    numbers = [getattr(signal, name) for name in entry.SIGNALS]
    before = [(number, signal.getsignal(number)) for number in numbers]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("a name", got=1), 2, "ConfigError: a name · got 1"),
        (ImageError("no image"), 2, "ImageError: no image"),
        (BudgetUnmetError("nothing fits"), 1, "FAIL: nothing fits"),
        (OSError(errno.ENOSPC, "No space left"), 2, "StoreError: the disk is full"),
        (PermissionError(errno.EACCES, "denied", "f"), 2, "StoreError: there is no permission"),
        (RuntimeError("x (os error 28)"), 2, "StoreError: the disk is full"),
        (MemoryError(), 2, "StoreError: the memory is full"),
        (BrokenPipeError(), 1, ""),
        (TypeError("a\nbug"), 2, "unexpected TypeError: a bug · at "),
    ],
)
def test_an_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    line: str,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(entry, "_command_line", fail)
    with pytest.raises(SystemExit) as ended:
        entry.main()
    said = capfd.readouterr().err
    assert ended.value.code == code and said.startswith(line) and said.count("\n") == bool(line)


def test_a_bug_shows_its_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise TypeError("x")

    monkeypatch.setattr(entry, "_command_line", fail)
    monkeypatch.setenv(entry.TRACEBACK, "1")
    with pytest.raises(TypeError):
        entry.main()


WAITS = """
import time
from compress.cli import entry

def wait():
    import typer
    app = typer.Typer()

    @app.command()
    def command():
        print("waits", flush=True)
        time.sleep(60)

    app([])

entry._command_line = wait
entry.main()
"""


def stopped(code: str, number: signal.Signals) -> tuple[int, str]:
    """Exit code and stderr of a waiting command that gets a signal."""
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    assert child.stdout is not None and child.stdout.readline() == "waits\n"
    child.send_signal(number)
    _, said = child.communicate(timeout=30)
    return child.returncode, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_says_how_to_go_on(number: signal.Signals) -> None:
    says = "stopped: run the same command again to go on where it was\n"
    assert stopped(WAITS, number) == (128 + number, says)


@pytest.mark.parametrize("hidden", ["pass", "raise AttributeError('half an import')"])
def test_a_stop_that_is_swallowed_or_turned_into_another_error_counts(hidden: str) -> None:
    swallows = f"""
        try: time.sleep(60)
        except BaseException: {hidden}
        time.sleep(60)"""
    code = WAITS.replace("\n        time.sleep(60)", swallows)
    assert stopped(code, signal.SIGTERM) == (143, entry.STOPPED + "\n")


def test_an_ignored_signal_stays_ignored() -> None:
    """As nohup and background jobs of a script want it."""
    child = subprocess.Popen(
        [sys.executable, "-c", WAITS.replace("sleep(60)", "sleep(2)")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert child.stdout is not None and child.stdout.readline() == "waits\n"
    child.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert child.wait(timeout=30) == 0


@pytest.mark.parametrize("command", [["show"], ["list", "datasets"], ["--help"], ["build", "--x"]])
def test_a_terminal_without_unicode_gets_substitutes(tmp_path: Path, command: list[str]) -> None:
    run = tmp_path / "runs" / "Blüte"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("")
    (run / "run.json").write_text('{"command": "compress … ×", "start": ""}', encoding="utf-8")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "compress", *command],
        cwd=ROOT,
        env={**os.environ, **plain, "CLIP2EDGE_WORK": str(tmp_path)},
        capture_output=True,
    )
    assert b"Traceback" not in done.stderr and done.returncode == (2 if "--x" in command else 0)
