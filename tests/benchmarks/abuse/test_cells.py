"""Cells: run once, again after a fault, and never taken for clean when they die."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from benchmarks.abuse.cells import LOST, TRACEBACK, Cell, Fault, Outcome, forked, run_cells, spread


def cell(name: str, *faults: Fault, skipped: str | None = None, trace: Path | None = None) -> Cell:
    def run(folder: Path) -> Outcome:
        assert not list(folder.iterdir())
        if trace:
            with trace.open("a") as file:
                file.write(name)
        return Outcome(2, list(faults), skipped)

    return Cell("part", name, run)


def test_a_clean_cell_runs_once_and_others_again(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    cells = [
        cell("a", trace=trace),
        cell("b", Fault(LOST, "gone"), trace=trace),
        cell("c", skipped="no root", trace=trace),
    ]
    for _time in range(2):
        done = run_cells(cells, tmp_path, 1, "abc")
        assert [done[one].is_clean for one in cells] == [True, False, False]
        assert done[cells[1]].faults == [Fault(LOST, "gone")]
        assert {outcome.commit for outcome in done.values()} == {"abc"}
    assert trace.read_text() == "abcbc"


def test_a_cell_that_dies_is_a_fault(tmp_path: Path) -> None:
    def die(_: Path) -> Outcome:
        os._exit(0)

    def raise_error(_: Path) -> Outcome:
        raise RuntimeError

    cells = [Cell("part", "dies", die), Cell("part", "raises", raise_error)]
    done = run_cells(cells, tmp_path, 2)
    assert [outcome.faults[0].kind for outcome in done.values()] == [TRACEBACK, TRACEBACK]


def test_a_share_is_spread_over_all() -> None:
    assert spread(list(range(10)), 0.3) == [0, 3, 6]
    assert spread([1, 2, 3], 1.0) == [1, 2, 3] and spread([1, 2, 3], 0.01) == [1]
    assert spread([], 1.0) == []


def test_a_child_has_no_handlers_of_its_parent() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        pid = forked(lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
