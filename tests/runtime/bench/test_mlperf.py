"""MLPerf's early stopping, against its published floors, and the rules that a run is held to."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
import pytest

from runtime.bench.latency import FLOORS, measure, ratio
from runtime.bench.mlperf import MIN_SAMPLES, estimate_ms, set_aside, shortfalls
from runtime.host.telemetry import Reading


@pytest.mark.parametrize(("percent", "floor"), FLOORS.items())
def test_the_floors_are_those_of_early_stopping(percent: float, floor: int) -> None:
    assert set_aside(floor, percent / 100) == 1 and set_aside(floor - 1, percent / 100) == 0


def test_what_is_set_aside_is_loadgens() -> None:
    assert set_aside(10_000, 0.99) == 77, "LoadGen's own figure"
    assert FLOORS[99.0] == MIN_SAMPLES


@pytest.mark.parametrize("n", [64, 200, 1000])
def test_set_aside_is_the_binomial_test(n: int) -> None:
    t = set_aside(n, 0.9)

    def at_most(k: int) -> float:
        return sum(comb(n, i) * 0.1**i * 0.9 ** (n - i) for i in range(k + 1))

    assert at_most(t) <= 0.01 < at_most(t + 1)


def test_an_estimate_never_lies_below_the_percentile() -> None:
    ns = np.random.default_rng(0).permutation(np.arange(1, 10_001)) * 1e6
    assert estimate_ms(ns.reshape(100, 100), 99) == 9924.0, (
        "10 000 samples, 77 set aside, the fastest of those"
    )
    assert estimate_ms(ns, 90) > np.percentile(ns, 90) / 1e6  # type: ignore[operator]
    assert estimate_ms(ns[:661], 99) is None


def test_every_rule_that_is_not_met_is_said() -> None:
    assert shortfalls("int8", 700, 600.0, 1) == []
    short = shortfalls("int8", 10, 5.0, 1)
    assert len(short) == 2 and "MLPerf asks for 600" in short[0] and "662" in short[1]
    assert "24576" in shortfalls("int8", 100, 600.0, 8)[0] and not shortfalls(
        "int8", 4000, 600.0, 8
    )


class Clock:
    """A clock that only calls move."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def call(self, ms: float) -> Callable[[], None]:
        def run() -> None:
            self.now += int(ms * 1e6)

        return run


def test_every_model_gets_its_samples_and_its_time() -> None:
    clock = Clock()
    calls = {"slow": clock.call(400), "fast": clock.call(1)}
    found = measure(
        calls, 0, warmup_seconds=1, min_samples=662, seconds_each=3.0, clock_ns=clock, read=Reading
    )
    assert found["slow"].n == 662 and found["fast"].ns.shape == (662, 400), (
        "a turn is as long as the slow one's call"
    )
    clock = Clock()
    calls = {"slow": clock.call(400), "fast": clock.call(1)}
    found = measure(calls, 0, warmup_seconds=1, seconds_each=100.0, clock_ns=clock, read=Reading)
    assert found["slow"].seconds == pytest.approx(100, rel=0.01) == found["fast"].seconds


def test_samples_are_kept_where_only_their_number_is_asked_for() -> None:
    clock = Clock()
    found = measure(
        {"a": clock.call(5)}, 0, warmup_seconds=1, min_samples=400, clock_ns=clock, read=Reading
    )
    assert found["a"].ns.shape == (20, 20)


def test_the_interval_of_a_long_series_is_that_of_the_whole() -> None:
    """Resampling from blocks must not move it: 60 000 rounds with drift, both sides alike."""
    from runtime.bench.latency import Samples

    rng = np.random.default_rng(0)
    drift = np.linspace(1, 1.5, 60_000)[:, None]
    slow = Samples(
        "slow", (4e6 * drift * (1 + 0.02 * rng.standard_normal((60_000, 2)))).astype(np.int64)
    )
    fast = Samples(
        "fast", (2e6 * drift * (1 + 0.02 * rng.standard_normal((60_000, 2)))).astype(np.int64)
    )
    found = ratio(slow, fast, resamples=200)
    assert found.ci95[0] <= found.p50 <= found.ci95[1] and found.p50 == pytest.approx(2, rel=0.01)
    assert found.ci95[1] - found.ci95[0] < 0.05 and found.rounds == 60_000
