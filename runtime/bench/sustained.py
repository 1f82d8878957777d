"""One model without a pause, in windows: the effect of heat."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from runtime.bench.latency import COUNT, POSITIVE
from runtime.host.energy import Meter
from runtime.host.sensors import Sensor
from runtime.host.telemetry import CELSIUS, Reading, reading

WINDOWS = 60  # of a run, as many points as a plot shows
LEAST_WINDOW_S, LONGEST_WINDOW_S = 1.0, 30.0


@dataclass(frozen=True)
class Window:
    """A part of a sustained run, of ``n`` calls; ``t_s`` is its end, in seconds since the start."""

    t_s: float = field(metadata={"ge": 0})
    p50_ms: float = field(metadata=POSITIVE)
    n: int | None = field(metadata=COUNT)
    clock_mhz: float | None
    temperature_c: float | None = field(metadata=CELSIUS)
    watts: float | None
    throttled: tuple[str, ...] = ()


def sustain(
    call: Callable[[], object],
    seconds: float,
    sensor: Sensor | None = None,
    *,
    on_gpu: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    read: Callable[[], Reading] = reading,
) -> list[Window]:
    """Calls for ``seconds`` and reads the host's state after each of about ``WINDOWS`` windows.

    A window records the GPU's clock if ``on_gpu``; ``clock`` (seconds) and ``read`` are for tests.
    """
    length = min(max(seconds / WINDOWS, LEAST_WINDOW_S), LONGEST_WINDOW_S)
    start = clock()
    windows: list[Window] = []
    while not windows or clock() - start < seconds:
        begun = clock()
        durations: list[float] = []
        meter = Meter(sensor) if sensor else None
        if meter:
            meter.start()
        while not durations or clock() - begun < length:
            before = clock()
            call()
            durations.append(clock() - before)
        joules = meter.stop() if meter else None
        watts = None if joules is None else joules / (clock() - begun)
        seen = read()
        windows.append(
            Window(
                t_s=clock() - start,
                p50_ms=float(np.median(durations)) * 1e3,
                n=len(durations),
                clock_mhz=seen.gpu_clock_mhz if on_gpu else seen.clock_mhz,
                temperature_c=seen.temperature_c,
                watts=watts,
                throttled=seen.throttled_now,
            )
        )
    return windows


def slowdown(windows: Sequence[Window]) -> float:
    """Median of the last tenth of the windows over that of the first tenth, minus 1."""
    tenth = max(1, len(windows) // 10)
    first, last = (median(w.p50_ms for w in part) for part in (windows[:tenth], windows[-tenth:]))
    return last / first - 1.0 if first else 0.0
