"""Quiet is about bars, not about what the user should know."""

from __future__ import annotations

import pytest

from compress.engine.progress import QuietProgress, RichProgress


def test_quiet_shows_notes_and_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    progress = QuietProgress()
    with progress.task("train", total=2) as task:
        task.advance(2, loss=1.0)
    assert capsys.readouterr() == ("", "")
    progress.note("stage data is made again")
    assert capsys.readouterr().err == "stage data is made again\n"
    loud = RichProgress()
    with loud.task("train", total=1) as task:
        task.advance()
    assert "train" in capsys.readouterr().err
