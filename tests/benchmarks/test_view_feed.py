"""What feeds training: the shares, and one small run, slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import view_feed
from benchmarks.view_feed import KEPT, RENDERED, RESIDENT, Rates


def test_a_share_is_of_the_same_round() -> None:
    steps = {RESIDENT: [1.0, 2.0, 1.0], KEPT: [1.0, 2.5, 1.25], RENDERED: [2.0, 4.0, 2.0]}
    rates = Rates(steps, reads=1000.0, renders=100.0)
    assert rates.share(KEPT) == (0.8, 0.8, 1.0)
    assert "0.50 (0.50–0.50)" in view_feed.report(rates) and "**FAILS**" in view_feed.report(rates)


@pytest.mark.slow
def test_three_feeds_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"EDGE": 32, "BATCH": 4, "ROUNDS": 2, "BLOCK": 1, "READS": 8, "SHOTS": 1, "VIEWS": 2}
    for name, value in small.items():
        monkeypatch.setattr(view_feed, name, value)
    rates = view_feed.measure(tmp_path)
    assert {*rates.steps} == {RESIDENT, KEPT, RENDERED}
    assert all(len(rounds) == 2 for rounds in rates.steps.values())
    assert rates.reads > rates.renders > 0
