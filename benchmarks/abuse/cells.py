"""Cells: pieces of a part that run in a process of their own and leave a JSON file.

A run that is stopped goes on with the cells that have no file. A cell with a fault runs again.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

LOST = "lost"  # the result differs from the undisturbed one, or cannot be had any more
SILENT = "silent"  # nothing was said, or something else than what happened
TRACEBACK = "traceback"  # also a crash, or memory beyond the limit
HANG = "hang"
KINDS = (LOST, SILENT, TRACEBACK, HANG)
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Fault:
    """Something that must not happen: one of ``KINDS``, and the evidence."""

    kind: str
    what: str


@dataclass
class Outcome:
    """What became of the cases of a cell."""

    cases: int = 0
    faults: list[Fault] = field(default_factory=list)
    skipped: str | None = None  # why it could not run here
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    commit: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether the cell ran, and found nothing."""
        return not self.faults and self.skipped is None


@dataclass(frozen=True)
class Cell:
    """A part's piece: ``run`` gets an empty folder for its work, removed afterwards."""

    part: str
    name: str
    run: Callable[[Path], Outcome]


def spread(items: Sequence[Any], scale: float) -> list[Any]:
    """A share of the items, at equal distances; at least one."""
    count = max(1, round(len(items) * scale)) if items else 0
    return [items[(index * len(items)) // count] for index in range(count)]


def run_cells(
    cells: Iterable[Cell], work: Path, jobs: int, commit: str = ""
) -> dict[Cell, Outcome]:
    """The outcome of every cell, ``jobs`` at a time; those with a clean file are not run."""
    done: dict[Cell, Outcome] = {}
    waiting: list[Cell] = []
    for cell in cells:
        known = _read(_file(work, cell))
        if known is not None and known.is_clean:
            done[cell] = known
        else:
            waiting.append(cell)
    running: dict[int, Cell] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop(0)
                running[forked(partial(_run, cell, work, commit))] = cell
            for pid, status in _ended(list(running)):
                cell = running.pop(pid)
                outcome = _read(_file(work, cell))
                if status != 0 or outcome is None:
                    what = f"{cell.part} {cell.name}: the cell itself ended with status {status}"
                    outcome = Outcome(1, [Fault(TRACEBACK, what)])
                done[cell] = outcome
                _tell(cell, outcome)
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return done


def _ended(pids: Sequence[int]) -> list[tuple[int, int]]:
    """Those processes that have ended, with their status; waits for the first."""
    while True:
        found = [os.waitpid(pid, os.WNOHANG) for pid in pids]
        if ended := [(pid, status) for pid, status in found if pid]:
            return ended
        time.sleep(0.02)


def die_with_parent() -> None:
    """The calling process ends when its parent does, however that ends (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def forked(work: Callable[[], object]) -> int:
    """Runs ``work`` in a child that ends with this process; its exit code is that of a program."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        die_with_parent()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)  # whatever the parent does on them
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(bool(error.code))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(cell: Cell, work: Path, commit: str) -> None:
    file = _file(work, cell)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    folder = work / "scratch" / f"{cell.part}.{cell.name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start = time.monotonic()
    outcome = cell.run(folder)
    outcome.seconds = round(time.monotonic() - start, 2)
    outcome.commit = commit
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(asdict(outcome), indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, file)
    shutil.rmtree(folder, ignore_errors=True)


def _file(work: Path, cell: Cell) -> Path:
    return work / "cells" / cell.part / f"{cell.name}.json"


def _read(file: Path) -> Outcome | None:
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Outcome(**{**plain, "faults": [Fault(**fault) for fault in plain["faults"]]})


def _tell(cell: Cell, outcome: Outcome) -> None:
    state = outcome.skipped and f"skipped: {outcome.skipped}"
    state = state or (f"{len(outcome.faults)} FAULTS" if outcome.faults else "clean")
    counts = f"{outcome.cases:6} cases  {outcome.seconds:7.1f} s"
    print(f"{cell.part:10} {cell.name:28} {counts}  {state}", flush=True)
    for fault in outcome.faults[:5]:
        print(f"{'':12}{fault.kind}: {fault.what[:300]}", flush=True)
