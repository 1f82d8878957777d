"""Quiet is about bars, not about what the user should know; no line cuts a number."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from compress.engine import progress as module
from compress.engine.progress import QuietProgress, RichProgress, clock, fitting


def on_terminal(width: int) -> tuple[RichProgress, io.StringIO]:
    """Progress on a terminal of that many columns, and what it shows."""
    shown = io.StringIO()
    progress = RichProgress()
    progress.console = Console(file=shown, force_terminal=True, width=width, color_system=None)
    return progress, shown


def test_quiet_shows_notes_and_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    progress = QuietProgress()
    with progress.task("train", total=2) as task:
        task.advance(2, loss=1.0)
    progress.stage("data", 1, 9)
    assert capsys.readouterr() == ("", "")
    progress.note("stage data is made again")
    assert capsys.readouterr().err == "stage data is made again\n"
    loud = RichProgress()
    with loud.task("train", total=1) as task:
        task.advance()
    loud.stage("data", 1, 9)
    shown = capsys.readouterr().err
    assert "train: 1/1 · in 0:00" in shown
    assert "stage 1 of 9: data" in shown


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_shows_count_eta_and_rate_whole(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    progress, shown = on_terminal(width)
    with progress.task("teacher's answers", total=50_000, unit="view") as task:
        now[0] = 40.0
        task.advance(50_000, wait_s=0.01, loss=0.123456, rate=0.001)
    last = [line for line in shown.getvalue().replace("\r", "\n").splitlines() if "view/s" in line]
    assert last, shown.getvalue()
    assert "50000/50000" in last[-1]
    assert "…" not in last[-1]
    assert len(last[-1].rstrip()) <= width + len("\x1b[2K")
    assert ("━" in last[-1]) == (width >= module.NARROWEST)


def test_words_are_whole_or_absent() -> None:
    words = ["1,170 image/s", "data wait 3 %", "loss 0.123"]
    assert fitting(words, 80) == "1,170 image/s · data wait 3 % · loss 0.123"
    assert fitting(words, 29) == "1,170 image/s · data wait 3 %"
    assert fitting(words, 28) == "1,170 image/s"
    assert fitting(words, 5) == ""


def test_a_log_gets_a_line_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    progress = RichProgress()
    with progress.task("label", total=100, unit="view", done=20) as task:
        for _ in range(8):
            now[0] += 10
            task.advance(10)
    assert capsys.readouterr().err.splitlines() == [
        "label: 50/100 · eta 0:50 · 1.0 view/s",
        "label: 80/100 · eta 0:20 · 1.0 view/s",
        "label: 100/100 · in 1:20 · 1.0 view/s",
    ]


def test_a_task_without_units_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with RichProgress().task("read test images", total=0):
        pass
    progress, shown = on_terminal(80)
    with progress.task("read test images", total=0) as task:
        task.advance()
    assert capsys.readouterr().err == shown.getvalue() == ""


def test_clock() -> None:
    assert [clock(value) for value in (0, 75, 7275)] == ["0:00", "1:15", "2:01:15"]
