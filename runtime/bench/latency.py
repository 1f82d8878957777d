"""Latency that another person can reproduce.

* Warm up until the rolling median is stable (bounded), then time each call with
``perf_counter_ns``. * Competitors are interleaved A B A B in blocks; a ratio is bootstrapped over
whole rounds: drift hits both sides. * A percentile is printed only above its floor of samples
    (MLPerf early stopping, c = 0.99). No outlier is removed.
* Every series is stamped VALID, DRIFTING, THROTTLED or NOISY_HOST, with the reason; TOO_FEW below
11 samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from runtime.host.telemetry import Reading, reading

# Samples below which a percentile would be a guess: arXiv 1911.02549 (MLPerf inference), early
# stopping at c = 0.99.
FLOORS = {50.0: 11, 90.0: 64, 95.0: 130, 99.0: 662, 99.9: 6636}

# one competitor's turn: its first call, with cold caches, is one of several; short against drift
BLOCK_MS = 100.0
MAX_BLOCK = 64  # calls in a turn
BOOTSTRAP_ROUNDS, BOOTSTRAP_CALLS = 512, 64  # of a long series, what its interval is resampled from
WINDOW = 5  # calls in the rolling median of the warm-up
STABLE = 0.05  # relative change of that median that counts as stable

DRIFT_LIMIT = 0.05  # last third against first third of the rounds
SPREAD_LIMIT = 0.10  # interquartile range over median
OTHERS_LIMIT = 0.15  # share of the machine's processor time that others used
STEAL_LIMIT = 0.02  # share that the hypervisor took
CLOCK_LIMIT = 0.90  # clock at the end over clock at the start


@dataclass(frozen=True)
class Samples:
    """One competitor's series.

    Attributes:
        ns: duration of each call, int64 (R, C): R rounds of C calls, in order of time.
        warmup: calls before the first sample.
        warm: whether the warm-up ended because the median was stable.
        before: the host when measuring began.
        after: the host when it ended.
    """

    name: str
    ns: np.ndarray
    warmup: int = 0
    warm: bool = True
    before: Reading = field(default_factory=Reading)
    after: Reading = field(default_factory=Reading)

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(self.ns.size)

    @property
    def seconds(self) -> float:
        """Time inside the calls."""
        return float(self.ns.sum()) / 1e9

    def quantiles_ms(self) -> list[float] | None:
        """p0, p1 ... p100, durations that really occurred: the empirical distribution, drawn; None
        below 11 samples.
        """
        if self.n < FLOORS[50.0]:
            return None
        return [
            float(value) / 1e6
            for value in np.percentile(self.ns, range(101), method="inverted_cdf")
        ]

    def percentile_ms(self, percent: float) -> float | None:
        """A percentile in milliseconds, a duration that really occurred; None below its floor (a
        key of ``FLOORS``).
        """
        if self.n < FLOORS[percent]:
            return None
        return float(np.percentile(self.ns, percent, method="inverted_cdf")) / 1e6


@dataclass(frozen=True)
class Verdict:
    """Whether a series may be quoted: the stamp and the reason."""

    stamp: str
    reason: str


@dataclass(frozen=True)
class Ratio:
    """Median of one series over that of another, with a bootstrap interval."""

    value: float
    low: float
    high: float
    rounds: int

    def to_json(self) -> dict[str, Any]:
        """A JSON object with "p50" and "ci95"."""
        return {"p50": self.value, "ci95": [self.low, self.high], "rounds": self.rounds}


@dataclass(frozen=True)
class LatencyRow:
    """One line of a report: what was timed, on what, and how far it can be trusted. Milliseconds
    per call.
    """

    model: str
    precision: str
    backend: str
    batch: int
    threads: int
    n: int
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    verdict: str
    reason: str
    provider: str
    includes: str  # "compute" or "decode + resize + normalize + compute + softmax"
    warmup: int
    load_ms: float | None = None
    first_ms: float | None = None
    kernels: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    clock_mhz: tuple[float | None, float | None] = (None, None)  # before, after
    temperature_c: tuple[float | None, float | None] = (None, None)
    gpu_clock_mhz: tuple[float | None, float | None] = (None, None)
    quantiles_ms: list[float] | None = None  # p0 ... p100
    images_per_second: float | None = None
    early_stopping_ms: dict[str, float | None] | None = None  # MLPerf's estimates of p90 and p99
    energy: dict[str, Any] | None = None
    peak_rss_bytes: int | None = None  # of a process that does nothing else
    resident_bytes: int | None = None  # growth of this process by loading and the first image
    file_sha256: str | None = None
    nodes: dict[str, int] | None = None  # provider -> nodes that it was given
    image: str | None = None  # what an end-to-end row decodes
    device_p50_ms: float | None = (
        None  # by the GPU's own events, without copies; p50_ms is the host's time
    )

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


def measure(
    calls: Mapping[str, Callable[[], object]],
    seconds: float = 5.0,
    *,
    warmup_seconds: float | None = None,
    min_rounds: int = 11,
    max_rounds: int = 100_000,
    min_samples: int = 0,
    seconds_each: float = 0.0,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
    look: Callable[[], Reading] = reading,
) -> dict[str, Samples]:
    """Times the competitors interleaved.

    Args:
        calls: name -> one inference. Equal threads and affinity are the caller's part.
        seconds: for all together, after the warm-up; at least ``min_rounds`` rounds are run
            whatever they take.
        warmup_seconds: bound of each competitor's warm-up; default a quarter of ``seconds``, at
            least 0.5.
        min_rounds: rounds; 11 is the floor of the median.
        max_rounds: rounds at which measuring ends before ``seconds``.
        min_samples: of every competitor, whatever they take.
        seconds_each: that every competitor spends in its own calls, at least; a turn then lasts as
            long as the slowest one's call, so that all get the same time.
        clock_ns: the clock, for tests.
        look: reads the host's clocks and temperatures, for tests.

    Returns:
        Name -> its samples; each round holds the same number of calls, more of a fast competitor
        than of a slow one.
    """
    bound = max(0.5, seconds / 4) if warmup_seconds is None else warmup_seconds
    warm = {name: warm_up(call, bound, clock_ns) for name, call in calls.items()}
    slowest = max(median_ns for _, _, median_ns in warm.values())
    long, most = (
        (max(BLOCK_MS, slowest / 1e6), 1_000_000) if seconds_each else (BLOCK_MS, MAX_BLOCK)
    )
    turns = {name: _turn(median_ns, long, most) for name, (_, _, median_ns) in warm.items()}
    series: dict[str, list[np.ndarray]] = {name: [] for name in calls}
    spent = dict.fromkeys(calls, 0)
    rounds_needed = max([min_rounds, *(-(-min_samples // turn) for turn in turns.values())])
    before, start, rounds = look(), clock_ns(), 0
    while rounds < max_rounds and (
        rounds < rounds_needed
        or clock_ns() - start < seconds * 1e9
        or min(spent.values()) < seconds_each * 1e9
    ):
        for name, call in calls.items():
            series[name].append(np.array(_timed(call, turns[name], clock_ns), np.int64))
            spent[name] += int(series[name][-1].sum())
        rounds += 1
    after = look()
    return {
        name: Samples(name, np.array(rows, np.int64), warm[name][0], warm[name][1], before, after)
        for name, rows in series.items()
    }


def warm_up(
    call: Callable[[], object], seconds: float, clock_ns: Callable[[], int] = time.perf_counter_ns
) -> tuple[int, bool, float]:
    """Calls until two windows in a row have the same median within 5 %, or ``seconds`` have passed.

    Returns:
        Number of calls, whether the median was stable, the last window's median in ns.
    """
    start = clock_ns()
    durations: list[int] = []
    while True:
        durations += _timed(call, 1, clock_ns)
        if len(durations) >= 2 * WINDOW:
            old, new = np.median(durations[-2 * WINDOW : -WINDOW]), np.median(durations[-WINDOW:])
            if abs(new - old) <= STABLE * old:
                return len(durations), True, float(new)
        if clock_ns() - start >= seconds * 1e9:
            return len(durations), False, float(np.median(durations[-WINDOW:]))


def ratio(slow: Samples, fast: Samples, seed: int = 0, resamples: int = 2000) -> Ratio:
    """How many times faster ``fast`` is: p50(slow) / p50(fast), with a paired bootstrap's 95 %
    interval.

    A round's calls stay together and both sides draw the same rounds, so the host's drift cancels
    out. The ratio is of all samples; the interval of a long series is resampled from
    ``BOOTSTRAP_ROUNDS`` blocks of it.
    """
    rounds = min(len(slow.ns), len(fast.ns))
    rng = np.random.Generator(np.random.Philox(seed))
    sides = [_resampled_from(side.ns, rounds) for side in (slow, fast)]
    draws = rng.integers(0, len(sides[0]), (resamples, len(sides[0])))
    low, high = np.percentile(_medians(sides[0], draws) / _medians(sides[1], draws), [2.5, 97.5])
    return Ratio(float(np.median(slow.ns) / np.median(fast.ns)), float(low), float(high), rounds)


def verdict(samples: Samples) -> Verdict:
    """The stamp of a series; the gravest finding wins."""
    if samples.n < FLOORS[50.0]:
        return Verdict("TOO_FEW", f"{samples.n} samples, a median needs {FLOORS[50.0]}")
    drift = _drift(samples.ns)
    for finding in (_throttled(samples, drift), _drifting(drift), _noisy(samples)):
        if finding is not None:
            return finding
    return Verdict("VALID", f"spread {_spread(samples.ns):.1%}, drift {drift:+.1%}")


def row(
    samples: Samples,
    *,
    model: str,
    precision: str,
    backend: str,
    batch: int,
    threads: int,
    provider: str,
    includes: str = "compute",
    **facts: Any,
) -> LatencyRow:
    """The report's line for a series; ``facts`` are further fields of ``LatencyRow``."""
    judged = verdict(samples)
    percentiles: dict[str, Any] = {
        name: samples.percentile_ms(percent) for name, percent in _COLUMNS.items()
    }
    return LatencyRow(
        model=model,
        precision=precision,
        backend=backend,
        batch=batch,
        threads=threads,
        provider=provider,
        includes=includes,
        n=samples.n,
        verdict=judged.stamp,
        reason=judged.reason,
        warmup=samples.warmup,
        clock_mhz=(samples.before.clock_mhz, samples.after.clock_mhz),
        temperature_c=(samples.before.temperature_c, samples.after.temperature_c),
        gpu_clock_mhz=(samples.before.gpu_clock_mhz, samples.after.gpu_clock_mhz),
        quantiles_ms=samples.quantiles_ms(),
        images_per_second=batch * samples.n / max(samples.seconds, 1e-9),
        **percentiles,
        **facts,
    )


_COLUMNS = {"p50_ms": 50.0, "p90_ms": 90.0, "p95_ms": 95.0, "p99_ms": 99.0, "p999_ms": 99.9}


def _timed(call: Callable[[], object], count: int, clock_ns: Callable[[], int]) -> list[int]:
    durations = []
    for _ in range(count):
        start = clock_ns()
        call()
        durations.append(clock_ns() - start)
    return durations


def _turn(median_ns: float, block_ms: float, most: int) -> int:
    return int(np.clip(round(block_ms * 1e6 / max(median_ns, 1.0)), 1, most))


def _resampled_from(ns: np.ndarray, rounds: int) -> np.ndarray:
    """What a long series (R, C) is resampled from: neighboring rounds as one, and evenly spaced
    calls of each.
    """
    together = -(-rounds // BOOTSTRAP_ROUNDS)
    blocks = ns[: rounds // together * together].reshape(rounds // together, -1)
    calls = blocks.shape[1]
    return blocks[:, np.linspace(0, calls - 1, min(calls, BOOTSTRAP_CALLS)).astype(int)]


def _medians(ns: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Median of all calls in the drawn rounds, (resamples,), of draws (resamples, rounds)."""
    pieces = np.array_split(draws, max(1, draws.size * ns.shape[1] // 2_000_000))  # 16 MB at a time
    return np.concatenate(
        [np.median(ns[piece].reshape(len(piece), -1), axis=1) for piece in pieces]
    )


def _drift(ns: np.ndarray) -> float:
    """Median of the last third of the rounds over that of the first third, minus 1."""
    third = max(1, len(ns) // 3)
    return float(np.median(ns[-third:]) / np.median(ns[:third])) - 1.0


def _spread(ns: np.ndarray) -> float:
    low, middle, high = np.percentile(ns, [25, 50, 75])
    return float((high - low) / middle)


def _throttled(samples: Samples, drift: float) -> Verdict | None:
    before, after = samples.before, samples.after
    events = _delta(before.throttle_events, after.throttle_events)
    if events:
        return Verdict("THROTTLED", f"the processor throttled {events} times")
    stops = _delta(before.quota_stops, after.quota_stops)
    if stops:
        return Verdict(
            "THROTTLED", f"the container had used up its processor time in {stops} periods"
        )
    held = [
        *after.throttled_now,
        *(set(after.throttled_since_boot) - set(before.throttled_since_boot)),
    ]
    if held:
        return Verdict("THROTTLED", f"held back by {', '.join(dict.fromkeys(held))}")
    for unit, first, last in (
        ("clock", before.clock_mhz, after.clock_mhz),
        ("GPU clock", before.gpu_clock_mhz, after.gpu_clock_mhz),
    ):
        if first and last and drift > DRIFT_LIMIT and last / first < CLOCK_LIMIT:
            return Verdict(
                "THROTTLED",
                f"{unit} fell from {first:.0f} to {last:.0f} MHz and latency rose {drift:.1%}",
            )
    return None


def _drifting(drift: float) -> Verdict | None:
    if abs(drift) <= DRIFT_LIMIT:
        return None
    return Verdict(
        "DRIFTING",
        f"last third of the rounds against the first {drift:+.1%}, limit {DRIFT_LIMIT:.0%}",
    )


def _noisy(samples: Samples) -> Verdict | None:
    before, after = samples.before, samples.after
    total = _delta(before.total_jiffies, after.total_jiffies)
    if total:
        busy = _delta(before.busy_jiffies, after.busy_jiffies) or 0
        own = _delta(before.own_jiffies, after.own_jiffies) or 0
        steal = (_delta(before.steal_jiffies, after.steal_jiffies) or 0) / total
        others = (busy - own) / total
        if steal > STEAL_LIMIT:
            return Verdict(
                "NOISY_HOST",
                f"the hypervisor took {steal:.1%} of the time, limit {STEAL_LIMIT:.0%}",
            )
        if others > OTHERS_LIMIT:
            return Verdict(
                "NOISY_HOST", f"others used {others:.0%} of the machine, limit {OTHERS_LIMIT:.0%}"
            )
    spread = _spread(samples.ns)
    if spread > SPREAD_LIMIT:
        return Verdict(
            "NOISY_HOST",
            f"interquartile range {spread:.1%} of the median, limit {SPREAD_LIMIT:.0%}",
        )
    return None


def _delta(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before
