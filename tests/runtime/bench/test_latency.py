"""The measuring itself: floors, interleaving, warm-up, ratios and stamps, on synthetic clocks and
series.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from runtime.bench.latency import FLOORS, Samples, measure, ratio, row, verdict, warm_up
from runtime.host.telemetry import Reading


class Clock:
    """A clock that only calls move."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def call(self, durations: Callable[[int], float]) -> Callable[[], None]:
        """A call whose i-th run takes ``durations(i)`` ms."""
        count = iter(range(10**9))

        def run() -> None:
            self.now += int(durations(next(count)) * 1e6)

        return run


def series(values: np.ndarray, **facts: Reading) -> Samples:
    return Samples("x", np.asarray(values, np.int64).reshape(len(values), -1), **facts)


def steady(n: int = 300, seed: int = 0, level: float = 5e6, noise: float = 0.01) -> np.ndarray:
    return level * (1 + noise * np.random.default_rng(seed).standard_normal((n, 4)))


@pytest.mark.parametrize(("percent", "floor"), FLOORS.items())
def test_no_percentile_below_its_floor(percent: float, floor: int) -> None:
    assert series(np.ones(floor - 1)).percentile_ms(percent) is None
    assert series(np.ones(floor)).percentile_ms(percent) == pytest.approx(1e-6)


def test_percentiles_happened_and_keep_the_outlier() -> None:
    values = np.arange(1, 1001) * 1e6
    values[500] = 9e12
    samples = series(values)
    assert samples.percentile_ms(50) == 500 and samples.percentile_ms(99) == 991
    assert samples.ns.max() == 9e12


def test_models_are_interleaved_and_slow_ones_get_their_floor() -> None:
    clock, order = Clock(), []

    def named(name: str, ms: float) -> Callable[[], None]:
        run = clock.call(lambda i: ms)

        def call() -> None:
            order.append(name)
            run()

        return call

    calls = {"slow": named("s", 1000), "fast": named("f", 5)}
    found = measure(calls, seconds=1, warmup_seconds=1, clock_ns=clock, read=Reading)
    assert found["slow"].ns.shape == (11, 1) and found["fast"].ns.shape == (11, 20)
    assert "".join(order).endswith(("s" + "f" * 20) * 11)
    assert found["slow"].percentile_ms(50) == 1000 and found["fast"].percentile_ms(50) == 5


def test_seconds_and_rounds_bound_the_run() -> None:
    clock = Clock()
    found = measure({"a": clock.call(lambda i: 100)}, seconds=5, clock_ns=clock, read=Reading)
    assert len(found["a"].ns) == 50
    found = measure(
        {"a": clock.call(lambda i: 100)}, seconds=5, max_rounds=20, clock_ns=clock, read=Reading
    )
    assert len(found["a"].ns) == 20


def test_warm_up_waits_for_a_stable_median() -> None:
    clock = Clock()
    calls, is_stable, median = warm_up(clock.call(lambda i: max(1.0, 40 * 0.8**i)), 10, clock)
    assert is_stable and calls > 15 and median == pytest.approx(1e6, rel=0.06)


def test_warm_up_is_bounded() -> None:
    clock = Clock()
    calls, is_stable, _ = warm_up(clock.call(lambda i: 10 * (1 + i)), 1, clock)
    assert not is_stable and calls < 20


def test_ratio_covers_the_truth_and_is_repeatable() -> None:
    slow, fast = series(steady(seed=1, level=10e6)), series(steady(seed=2, level=4e6))
    found = ratio(slow, fast)
    assert found.ci95[0] < 2.5 < found.ci95[1] and found.ci95[1] - found.ci95[0] < 0.02
    assert found == ratio(slow, fast) and found.ci95[0] <= found.p50 <= found.ci95[1]


def test_ratio_interval_covers_in_nineteen_of_twenty() -> None:
    hits = 0
    for seed in range(60):
        slow = series(steady(60, seed, 10e6, 0.05))
        fast = series(steady(60, 1000 + seed, 5e6, 0.05))
        found = ratio(slow, fast, seed, resamples=200)
        hits += found.ci95[0] <= 2.0 <= found.ci95[1]
    assert hits >= 52


def test_common_drift_does_not_widen_the_ratio() -> None:
    drift = np.linspace(1, 2, 300)[:, None]
    calm = ratio(series(steady(seed=1)), series(steady(seed=2)))
    hot = ratio(series(steady(seed=1) * drift), series(steady(seed=2) * drift))
    apart = ratio(series(steady(seed=1) * drift), series(steady(seed=2) * drift[::-1]))
    assert hot.ci95[1] - hot.ci95[0] < (apart.ci95[1] - apart.ci95[0]) / 2
    assert hot.ci95[0] - 0.02 < calm.p50 < hot.ci95[1] + 0.02


def test_steady_series_is_valid() -> None:
    assert verdict(series(steady())).stamp == "VALID"


@pytest.mark.parametrize("direction", [1, -1])
def test_trend_is_drifting(direction: int) -> None:
    found = verdict(series(steady() * np.linspace(1, 1.2, 300)[::direction, None]))
    assert found.stamp == "DRIFTING" and "limit 5%" in found.reason


def test_wide_series_is_noisy() -> None:
    assert verdict(series(steady(noise=0.2))).stamp == "NOISY_HOST"


def test_busy_neighbors_and_a_taken_processor_are_noisy() -> None:
    idle = Reading(total_jiffies=1000, busy_jiffies=100, own_jiffies=90, steal_jiffies=0)
    busy = Reading(total_jiffies=2000, busy_jiffies=1000, own_jiffies=500, steal_jiffies=0)
    taken = Reading(total_jiffies=2000, busy_jiffies=600, own_jiffies=500, steal_jiffies=50)
    quiet = Reading(total_jiffies=2000, busy_jiffies=600, own_jiffies=500, steal_jiffies=0)
    assert "others used 49%" in verdict(series(steady(), before=idle, after=busy)).reason
    assert "hypervisor" in verdict(series(steady(), before=idle, after=taken)).reason
    assert verdict(series(steady(), before=idle, after=quiet)).stamp == "VALID"


def test_falling_clock_or_counted_events_are_throttled() -> None:
    slower = steady() * np.linspace(1, 1.3, 300)[:, None]
    hot = series(slower, before=Reading(clock_mhz=1500), after=Reading(clock_mhz=1000))
    assert verdict(hot).stamp == "THROTTLED" and "1500 to 1000 MHz" in verdict(hot).reason
    counted = series(steady(), before=Reading(throttle_events=2), after=Reading(throttle_events=5))
    assert verdict(counted).stamp == "THROTTLED" and "3 times" in verdict(counted).reason
    idle_clock = series(steady(), before=Reading(clock_mhz=1500), after=Reading(clock_mhz=1000))
    assert verdict(idle_clock).stamp == "VALID"


def test_few_samples_are_not_judged() -> None:
    found = verdict(series(np.ones(10)))
    assert found.stamp == "TOO_FEW" and "10 samples" in found.reason


def test_row_leaves_out_what_is_below_its_floor() -> None:
    facts = {
        "model": "m",
        "precision": "int8",
        "backend": "onnxruntime",
        "batch": 1,
        "threads": 2,
        "provider": "CPU",
    }
    line = row(series(steady(16)), **facts, load_ms=3.0).to_json()
    assert line["n"] == 64 and line["p50_ms"] and line["p90_ms"] and line["p99_ms"] is None
    assert line["verdict"] == "VALID" and line["includes"] == "compute" and line["load_ms"] == 3.0
