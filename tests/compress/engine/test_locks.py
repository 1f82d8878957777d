"""Leases between processes, with and without a working ``flock``, and between machines."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import ROOT

from compress.engine import locks
from compress.engine.errors import StoreError
from compress.engine.locks import lock
from compress.engine.store import Store

HOLD = """
import sys; sys.path.insert(0, {root!r})
import fcntl
from pathlib import Path
if {nothing}: fcntl.flock = fcntl.lockf = lambda *_: None
from compress.engine.locks import lock
with lock(Path({path!r}), "run"):
    print("held", flush=True); input()
"""


@pytest.mark.parametrize("nothing", [False, True])
def test_a_second_process_is_refused_and_a_dead_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing: bool
) -> None:
    path = tmp_path / "x.lease"
    code = HOLD.format(root=str(ROOT), nothing=nothing, path=str(path))
    command = [sys.executable, "-c", code]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline().strip() == "held"
    if nothing:
        import fcntl

        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
        monkeypatch.setattr(fcntl, "lockf", lambda *_: None)
    told = f"process {other.pid} holds.*--work-dir"
    with pytest.raises(StoreError, match=told), lock(path, "run"):
        pass
    other.kill()
    other.wait()
    with lock(path, "run"):
        pass
    assert not path.exists(), "nothing is left"


def of_another_machine(path: Path) -> None:
    """A lease as it looks from here, while its holder is elsewhere."""
    text = path.read_text()
    host = next(line for line in text.splitlines() if line.startswith("host="))
    path.write_text(text.replace(host, "host=elsewhere"))


def test_the_lease_of_another_machine_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LEASE_S", 0.6)
    path = tmp_path / "x.lease"
    with lock(path, "run"):
        content = path.read_text()
    path.write_text(content)  # a killed machine left it
    of_another_machine(path)
    start = time.monotonic()
    with lock(path, "run"):
        assert time.monotonic() - start > 0.5, "it was watched first"


def test_a_living_machine_keeps_its_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LEASE_S", 0.6)
    monkeypatch.setattr(locks, "GRACE_S", 0.2)
    path = tmp_path / "x.lease"
    with lock(path, "run"):
        content = path.read_text()
    path.write_text(content)
    of_another_machine(path)
    refresh = f"import os,time\nwhile True: os.utime({str(path)!r}); time.sleep(.1)"
    other = subprocess.Popen([sys.executable, "-c", refresh])
    try:
        with pytest.raises(StoreError, match="of elsewhere holds"), lock(path, "run"):
            pass
    finally:
        other.kill()
        other.wait()


def test_a_stage_is_not_sealed_without_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LEASE_S", 0.3)
    store = Store(tmp_path / "store")

    def fill(folder: Path) -> dict[str, object]:
        (folder / "out").write_text("mine")
        folder.with_suffix(".lease").unlink()  # taken over while this machine slept
        time.sleep(0.5)
        return {}

    with pytest.raises(StoreError, match="another process has taken over stage data"):
        store.make("data", "0" * 32, {}, fill)
    assert store.get("data", "0" * 32) is None


def test_other_errors_are_no_reason_to_go_without_a_lease(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError), lock(tmp_path / "file" / "x.lease", "run"):
        pass
