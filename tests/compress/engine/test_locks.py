"""Locks between processes, on file systems with and without them."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from compress.engine.errors import StoreError
from compress.engine.locks import NO_LOCKS, lock

HOLD = """
import sys; sys.path.insert(0, {root!r})
import fcntl
from pathlib import Path
def refuse(*_): raise OSError({number}, "no locks here")
if {number}: fcntl.flock = refuse
from compress.engine.locks import lock
with lock(Path({path!r}), "run"):
    print("held", flush=True); input()
"""


@pytest.mark.parametrize("number", [0, *sorted(NO_LOCKS)])
def test_a_second_process_is_refused_and_a_dead_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "x.lock"
    code = HOLD.format(root=str(ROOT), number=number, path=str(path))
    command = [sys.executable, "-c", code]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline().strip() == "held"
    if number:
        import fcntl

        def refuse(*_: object) -> None:
            raise OSError(number, "no locks here")

        monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match=f"process {other.pid}.*--work-dir"), lock(path, "run"):
        pass
    other.kill()
    other.wait()
    with lock(path, "run"):
        pass


def test_other_errors_are_no_reason_to_go_without_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="broken disk"), lock(tmp_path / "x.lock", "run"):
        pass
