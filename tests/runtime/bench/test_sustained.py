"""A run without a pause, in windows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runtime.bench.sustained import Window, slowdown, sustain
from runtime.host.telemetry import Reading


def test_windows_follow_the_heat() -> None:
    now = [0.0]

    def call() -> None:
        now[0] += 0.1 if now[0] < 30 else 0.2

    seen = iter(range(1000))
    windows = sustain(
        call,
        60,
        clock=lambda: now[0],
        read=lambda: Reading(clock_mhz=2000.0 - next(seen), temperature_c=50.0),
    )
    assert 50 <= len(windows) <= 61 and windows[0].p50_ms == pytest.approx(100)
    assert windows[-1].p50_ms == pytest.approx(200) and slowdown(windows) == pytest.approx(1.0)
    clocks = [window.clock_mhz for window in windows]
    assert clocks == sorted(clocks, reverse=True) and windows[0].watts is None


def test_a_window_has_at_least_one_call_and_a_run_at_least_one_window() -> None:
    now = [0.0]

    def call() -> None:
        now[0] += 100.0

    (window,) = sustain(call, 5, clock=lambda: now[0], read=Reading)
    assert window.n == 1 and slowdown([window]) == 0.0


def test_slowdown_is_of_the_ends() -> None:
    base = Window(0, 1.0, 5, None, None, None)
    assert slowdown([replace(base, p50_ms=float(i)) for i in range(10, 31)]) == pytest.approx(
        29.5 / 10.5 - 1
    )
