"""Latency that another person can reproduce.

* Warm up until the rolling median is stable (bounded), then time each call with perf_counter_ns.
* Models under test are interleaved A B A B in blocks; a ratio is bootstrapped over whole rounds,
  because drift hits both sides.
* A percentile needs its floor of samples (MLPerf early stopping, c = 0.99). No outlier is removed.
* Every series is stamped VALID, DRIFTING, THROTTLED or NOISY_HOST, with the reason; TOO_FEW below
  11 samples.

A row's fields carry their bounds in their metadata, under pydantic's names: ``runtime.bench.file``
checks bench.json by them, ``compress.report.model`` report.json. Figures are at least 0 in
bench.json unless ``lowest`` says otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from runtime.host.energy import Energy
from runtime.host.telemetry import CELSIUS, Reading, reading

# Samples below which a percentile would be a guess: arXiv 1911.02549 (MLPerf inference), early
# stopping at c = 0.99.
FLOORS = {50.0: 11, 90.0: 64, 95.0: 130, 99.0: 662, 99.9: 6636}

COMPUTE = "compute"  # ``LatencyRow.includes`` of the engine alone
END_TO_END = "decode + resize + normalise + compute + softmax"  # a value in files: it stays

# one model's turn: its first call, with cold caches, is one of several; short against drift
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

Stamp = Literal["VALID", "DRIFTING", "THROTTLED", "NOISY_HOST", "TOO_FEW"]
Pair = tuple[float | None, float | None]  # before and after a series
COUNT = {"ge": 1}
POSITIVE = {"gt": 0}
PERCENTILES = {"min_length": 101, "max_length": 101}  # p0 ... p100; None below the floor of p50
SHA256 = {"pattern": "^[0-9a-f]{64}$"}


@dataclass(frozen=True)
class Samples:
    """One model's series; ``before`` and ``after`` are the host's state around it."""

    name: str
    ns: np.ndarray  # duration of each call, int64 (R, C): R rounds of C calls, in order of time
    warmup: int = 0  # calls before the first sample
    warm: bool = True  # whether the warm-up ended because the median was stable
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
        """p0, p1 ... p100, durations that really occurred; None below 11 samples."""
        if self.n < FLOORS[50.0]:
            return None
        curve = np.percentile(self.ns, range(101), method="inverted_cdf")
        return [float(value) / 1e6 for value in curve]

    def percentile_ms(self, percent: float) -> float | None:
        """A duration that really occurred; None below the percentile's floor in ``FLOORS``."""
        if self.n < FLOORS[percent]:
            return None
        return float(np.percentile(self.ns, percent, method="inverted_cdf")) / 1e6


@dataclass(frozen=True)
class Verdict:
    """Whether a series may be quoted: the stamp and the reason."""

    stamp: Stamp
    reason: str


@dataclass(frozen=True)
class Ratio:
    """Median of one series over that of another, with its 95 % bootstrap interval."""

    p50: float = field(metadata=POSITIVE)
    ci95: tuple[float, float]
    rounds: int | None = field(metadata=COUNT)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {**asdict(self), "ci95": list(self.ci95)}


@dataclass(frozen=True)
class LatencyRow:
    """What was timed, on what, and how far it can be trusted. Milliseconds per call.

    Raises: ValueError: quantiles that fall, or are not positive.
    """

    model: str
    precision: str
    backend: str
    batch: int = field(metadata=COUNT)
    threads: int = field(metadata=COUNT)
    n: int = field(metadata=COUNT)
    p50_ms: float | None = field(metadata=POSITIVE)
    p90_ms: float | None = field(metadata=POSITIVE)
    p95_ms: float | None = field(metadata=POSITIVE)
    p99_ms: float | None = field(metadata=POSITIVE)
    p999_ms: float | None = field(metadata=POSITIVE)
    verdict: Stamp
    reason: str
    provider: str
    includes: str  # ``COMPUTE`` or ``END_TO_END``
    warmup: int | None
    load_ms: float | None = None
    first_ms: float | None = None
    kernels: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    clock_mhz: Pair = (None, None)
    temperature_c: Pair = field(default=(None, None), metadata=CELSIUS)
    gpu_clock_mhz: Pair = (None, None)
    quantiles_ms: list[float] | None = field(default=None, metadata=PERCENTILES)
    images_per_second: float | None = None
    early_stopping_ms: dict[str, float | None] | None = None  # MLPerf's estimates of p90 and p99
    energy: Energy | None = None
    peak_rss_bytes: int | None = field(default=None, metadata={"ge": 0})  # of a cold process
    # growth of this process by loading and the first image
    resident_bytes: int | None = field(default=None, metadata={"lowest": -1e15})
    file_sha256: str | None = field(default=None, metadata=SHA256)
    nodes: dict[str, int] | None = None  # provider -> nodes assigned to it
    image: str | None = None  # what an end-to-end row decodes
    device_p50_ms: float | None = None  # by the GPU's own events, without copies and host

    def __post_init__(self) -> None:
        curve = self.quantiles_ms or [1.0]
        if curve[0] <= 0 or any(low > high for low, high in pairwise(curve)):
            raise ValueError("quantiles_ms must be positive and must not fall")

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


def measure(
    calls: Mapping[str, Callable[[], object]],
    seconds: float = 5.0,
    *,
    warmup_seconds: float | None = None,
    max_rounds: int = 100_000,
    min_samples: int = 0,
    seconds_each: float = 0.0,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
    read: Callable[[], Reading] = reading,
) -> dict[str, Samples]:
    """Times models interleaved.

    Args:
        calls: name -> one inference. Equal threads and affinity are the caller's part.
        seconds: for all together, after the warm-up.
        warmup_seconds: bound of each warm-up; default a quarter of ``seconds``, at least 0.5.
        max_rounds: rounds at which measuring ends before ``seconds``.
        min_samples: of each model, however long they take.
        seconds_each: least time of each model in its own calls; a turn then lasts as long as the
            slowest model's call, so that all get the same time.
        clock_ns, read: the clock and the host's state, for tests.

    Returns: name -> its samples; a round holds more calls of a fast model than of a slow one.
    """
    bound = max(0.5, seconds / 4) if warmup_seconds is None else warmup_seconds
    warm = {name: warm_up(call, bound, clock_ns) for name, call in calls.items()}
    block_ms, most = BLOCK_MS, MAX_BLOCK
    if seconds_each:
        slowest_ns = max(median_ns for _, _, median_ns in warm.values())
        block_ms, most = max(BLOCK_MS, slowest_ns / 1e6), 1_000_000
    turns = {
        name: int(np.clip(round(block_ms * 1e6 / max(median_ns, 1.0)), 1, most))
        for name, (_, _, median_ns) in warm.items()
    }
    series: dict[str, list[np.ndarray]] = {name: [] for name in calls}
    spent = dict.fromkeys(calls, 0)
    rounds_needed = max([FLOORS[50.0], *(-(-min_samples // turn) for turn in turns.values())])
    before = read()
    start = clock_ns()
    rounds = 0
    while rounds < max_rounds and (
        rounds < rounds_needed
        or clock_ns() - start < seconds * 1e9
        or min(spent.values()) < seconds_each * 1e9
    ):
        for name, call in calls.items():
            series[name].append(np.array(_timed(call, turns[name], clock_ns), np.int64))
            spent[name] += int(series[name][-1].sum())
        rounds += 1
    after = read()
    return {
        name: Samples(name, np.array(rows, np.int64), warm[name][0], warm[name][1], before, after)
        for name, rows in series.items()
    }


def warm_up(
    call: Callable[[], object], seconds: float, clock_ns: Callable[[], int] = time.perf_counter_ns
) -> tuple[int, bool, float]:
    """Calls until two windows in a row have the same median within 5 %, or ``seconds`` have passed.

    Returns: number of calls, whether the median was stable, the last window's median in ns.
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
    """p50(slow) / p50(fast), with a paired bootstrap's 95 % interval.

    A round's calls stay together and both sides draw the same rounds, so the host's drift cancels
    out. The ratio is of all samples; the interval of a long series is resampled from
    ``BOOTSTRAP_ROUNDS`` blocks of it.
    """
    rounds = min(len(slow.ns), len(fast.ns))
    rng = np.random.Generator(np.random.Philox(seed))
    sides = [_resampled_from(side.ns, rounds) for side in (slow, fast)]
    draws = rng.integers(0, len(sides[0]), (resamples, len(sides[0])))
    low, high = np.percentile(_medians(sides[0], draws) / _medians(sides[1], draws), [2.5, 97.5])
    p50 = float(np.median(slow.ns) / np.median(fast.ns))
    return Ratio(p50, (float(low), float(high)), rounds)


def verdict(samples: Samples) -> Verdict:
    """The stamp of a series; the gravest finding wins."""
    if samples.n < FLOORS[50.0]:
        return Verdict("TOO_FEW", f"{samples.n} samples, a median needs {FLOORS[50.0]}")
    drift = _drift(samples.ns)
    if reason := _throttled(samples, drift):
        return Verdict("THROTTLED", reason)
    if abs(drift) > DRIFT_LIMIT:
        against = f"last third of the rounds against the first {drift:+.1%}"
        return Verdict("DRIFTING", f"{against}, limit {DRIFT_LIMIT:.0%}")
    if reason := _noisy(samples):
        return Verdict("NOISY_HOST", reason)
    return Verdict("VALID", f"spread {_spread(samples.ns):.1%}, drift {drift:+.1%}")


def row(samples: Samples, *, batch: int, includes: str = COMPUTE, **facts: Any) -> LatencyRow:
    """The row of a series; ``facts`` are the fields of ``LatencyRow`` that no series knows."""
    judged = verdict(samples)
    p50, p90, p95, p99, p999 = map(samples.percentile_ms, FLOORS)
    return LatencyRow(
        batch=batch,
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
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        p999_ms=p999,
        **facts,
    )


def _timed(call: Callable[[], object], count: int, clock_ns: Callable[[], int]) -> list[int]:
    durations = []
    for _ in range(count):
        start = clock_ns()
        call()
        durations.append(clock_ns() - start)
    return durations


def _resampled_from(ns: np.ndarray, rounds: int) -> np.ndarray:
    """A long series (R, C) made smaller: neighboring rounds as one, evenly spaced calls of each."""
    together = -(-rounds // BOOTSTRAP_ROUNDS)
    blocks = ns[: rounds // together * together].reshape(rounds // together, -1)
    calls = blocks.shape[1]
    return blocks[:, np.linspace(0, calls - 1, min(calls, BOOTSTRAP_CALLS)).astype(int)]


def _medians(ns: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Median of all calls in the drawn rounds, (resamples,), of draws (resamples, rounds)."""
    pieces = np.array_split(draws, max(1, draws.size * ns.shape[1] // 2_000_000))  # 16 MB at a time
    return np.concatenate([np.median(ns[part].reshape(len(part), -1), axis=1) for part in pieces])


def _drift(ns: np.ndarray) -> float:
    """Median of the last third of the rounds over that of the first third, minus 1."""
    third = max(1, len(ns) // 3)
    return float(np.median(ns[-third:]) / np.median(ns[:third])) - 1.0


def _spread(ns: np.ndarray) -> float:
    low, middle, high = np.percentile(ns, [25, 50, 75])
    return float((high - low) / middle)


def _throttled(samples: Samples, drift: float) -> str:
    before, after = samples.before, samples.after
    if events := _delta(before.throttle_events, after.throttle_events):
        return f"the processor throttled {events} times"
    if stops := _delta(before.quota_stops, after.quota_stops):
        return f"the container had used up its processor time in {stops} periods"
    since_boot = set(after.throttled_since_boot) - set(before.throttled_since_boot)
    if limits := dict.fromkeys([*after.throttled_now, *since_boot]):
        return f"held back by {', '.join(limits)}"
    for unit, first, last in (
        ("clock", before.clock_mhz, after.clock_mhz),
        ("GPU clock", before.gpu_clock_mhz, after.gpu_clock_mhz),
    ):
        if first and last and drift > DRIFT_LIMIT and last / first < CLOCK_LIMIT:
            return f"{unit} fell from {first:.0f} to {last:.0f} MHz and latency rose {drift:.1%}"
    return ""


def _noisy(samples: Samples) -> str:
    before, after = samples.before, samples.after
    if total := _delta(before.total_jiffies, after.total_jiffies):
        busy = _delta(before.busy_jiffies, after.busy_jiffies)
        steal = _delta(before.steal_jiffies, after.steal_jiffies) / total
        others = (busy - _delta(before.own_jiffies, after.own_jiffies)) / total
        if steal > STEAL_LIMIT:
            return f"the hypervisor took {steal:.1%} of the time, limit {STEAL_LIMIT:.0%}"
        if others > OTHERS_LIMIT:
            return f"others used {others:.0%} of the machine, limit {OTHERS_LIMIT:.0%}"
    spread = _spread(samples.ns)
    if spread > SPREAD_LIMIT:
        return f"interquartile range {spread:.1%} of the median, limit {SPREAD_LIMIT:.0%}"
    return ""


def _delta(before: int | None, after: int | None) -> int:
    """0 where one of them is not known."""
    return 0 if before is None or after is None else after - before
