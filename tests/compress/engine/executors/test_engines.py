"""Every engine: the same files, whatever fails on the way, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from span_work import Counting, counting

from compress.engine.config import HostSettings
from compress.engine.errors import ConfigError, DataError, FleetError, MissingExtraError, SpanError
from compress.engine.executors.on_ray import connect
from compress.engine.executors.spans import environments, make_spans, notes
from compress.engine.executors.table import EXECUTORS, require_executor
from compress.engine.partial import SUMS, discard_damaged
from compress.engine.progress import SilentProgress

SPANS = [range(start, start + 3) for start in range(0, 15, 3)]
SUPPORT = str(Path(sys.modules["span_work"].__file__ or "").parent)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine, whose workers find the tests' modules."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([SUPPORT, os.environ.get("PYTHONPATH", "")]))
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        yield
    ray.shutdown()


@pytest.fixture(params=EXECUTORS)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    return str(request.param)


class Noting(SilentProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, amount: int = 1, *, wait_s: float = 0.0, **values: float) -> None:
        self.done += amount


def noted(work: Counting) -> tuple[Counting, Noting]:
    progress = Noting()
    return replace(work, ctx=replace(work.ctx, progress=progress)), progress


def test_the_files_are_the_same_on_every_engine(tmp_path: Path, engine: str) -> None:
    work, progress = noted(counting(tmp_path / "a", engine=engine, jobs=2))
    files = make_spans(work)
    assert [list(load_file(file)["numbers"]) for file in files] == [list(span) for span in SPANS]
    assert progress.done == 15 and not progress.notes
    local = make_spans(counting(tmp_path / "b"))
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in local]
    assert len(environments(files)) == 1 and environments(files)[0]["torch"]
    assert discard_damaged(work.ctx.partial) == []
    assert all(file.exists() for file in files), "each has its checksum"


def test_what_is_finished_is_not_made_again(tmp_path: Path, engine: str) -> None:
    work = counting(tmp_path / "a", engine=engine, jobs=2)
    before = [file.stat().st_mtime_ns for file in make_spans(work, SPANS[:2])]
    files = make_spans(work)
    assert [file.stat().st_mtime_ns for file in files[:2]] == before and len(files) == 5


def test_a_refusal_is_raised_at_once_as_it_is(tmp_path: Path, engine: str) -> None:
    work, progress = noted(counting(tmp_path / "a", engine=engine, jobs=2))
    (work.ctx.folder / "6.fault").write_text("refuse 0")
    with pytest.raises(DataError, match=r"wrong · got range\(6, 9\) · expected 7 · add one"):
        make_spans(work)
    assert not progress.notes


@pytest.mark.parametrize("fault", ["raise", pytest.param("die", marks=pytest.mark.slow)])
@pytest.mark.parametrize("engine", ["processes", "ray"], indirect=True)
def test_a_failure_or_a_dead_worker_is_made_up_for(tmp_path: Path, engine: str, fault: str) -> None:
    work, progress = noted(counting(tmp_path / "a", engine=engine, jobs=2))
    (work.ctx.folder / "3.fault").write_text(f"{fault} 2")
    files = make_spans(work)
    assert len(files) == 5 and all(file.exists() for file in files)
    if fault == "raise":
        assert [note for note in progress.notes if "numbers 3..5: " in note and "again" in note]


@pytest.mark.parametrize("fault", ["raise", pytest.param("die", marks=pytest.mark.slow)])
@pytest.mark.parametrize("engine", ["processes", "ray"], indirect=True)
def test_the_third_failure_ends_the_build_and_says_how_to_see_it(
    tmp_path: Path, engine: str, fault: str
) -> None:
    work, progress = noted(counting(tmp_path / "a", engine=engine, jobs=2))
    (work.ctx.folder / "3.fault").write_text(f"{fault} 99")
    with pytest.raises(
        SpanError, match=r"count, numbers 3\.\.5: failed 3 times .* --only 3"
    ) as error:
        make_spans(work)
    if fault == "raise":
        assert "ZeroDivisionError" in str(error.value)
        assert any("1 / 0" in note for note in progress.notes), "the traceback"
    (work.ctx.folder / "3.fault").unlink()
    assert len(make_spans(work)) == 5, "and the next build goes on"


def test_parts_of_another_environment_are_refused_or_told(tmp_path: Path) -> None:
    work = counting(tmp_path / "a")
    first = make_spans(work, SPANS[:1])[0]
    content = first.read_bytes()
    known = environments([first])[0]["torch"].encode()
    first.write_bytes(content.replace(known, bytes(reversed(known)), 1))
    with pytest.raises(FleetError, match=f"torch {known.decode()} besides .*--mixed-fleet"):
        make_spans(work)
    accepted = counting(tmp_path / "a", mixed_fleet=True)
    files = make_spans(accepted)
    assert len(environments(files)) == 2
    assert notes(files)[0].startswith("made on machines that compute differently (--mixed-fleet): ")
    assert notes(files[1:]) == []


def test_an_engine_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="did you mean 'ray'"):
        require_executor(HostSettings(engine="rai"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clip2edge\[cluster\]'"):
        require_executor(HostSettings(engine="ray"))


def test_ray_leaves_the_signals_of_the_program(cluster: None, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    make_spans(counting(tmp_path / "a", engine="ray", jobs=2))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1", "nonsense"])
def test_a_cluster_that_does_not_answer_is_one_clear_error(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    told = re.escape(f"no Ray cluster answers · got --address {address}: ")
    with pytest.raises(ConfigError, match=told + r".* · start one \(ray start --head\)"):
        connect(HostSettings(engine="ray", address=address))
    with pytest.raises(ConfigError, match=told):  # before any work
        require_executor(HostSettings(engine="ray", address=address))


def test_a_killed_build_leaves_no_worker(tmp_path: Path) -> None:
    program = f"""
import os, sys, time
sys.path.insert(0, {SUPPORT!r})
from span_work import counting
from compress.engine.executors.processes import Processes
if __name__ == "__main__":
    from pathlib import Path
    work = counting(Path({str(tmp_path / "a")!r}), engine="processes", jobs=2)
    spans = [range(n, n + 1) for n in range(3)]
    made = Processes(work.ctx.host).map(work, spans, lambda *_: None, print)
    next(made)
    import multiprocessing
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    os.kill(os.getpid(), 9)
"""
    file = tmp_path / "program.py"
    file.write_text(program)
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=120)
    workers = [int(word) for word in done.stdout.split() if word.isdigit()]
    assert workers, done.stderr
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < end, "workers live on"
        time.sleep(0.1)


def test_checksums_stand_beside_the_files(tmp_path: Path) -> None:
    work = counting(tmp_path / "a")
    make_spans(work)
    lines = (work.ctx.partial / SUMS).read_text().split("\n")
    assert len([line for line in lines if line]) == 5
    assert json.dumps(environments([]))
