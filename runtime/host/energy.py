"""Energy per inference: power integrated over a series of calls, divided by their number.

Idle power is part of the figure (reported beside it, never subtracted), because a battery pays for
it too. Each model runs alone here: sensors are too slow for interleaved turns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from runtime.host.sensors import Sensor, counted_j, energy_j

INTERVAL_S = 0.05  # between two readings of a rail: about as often as a Jetson's INA3221 renews it
LEAST_SECONDS = 1.0  # below it the ends of the series weigh too much


@dataclass(frozen=True)
class Energy:
    """Energy of one inference, by a sensor of the machine that ran it."""

    mj_per_inference: float = field(metadata={"ge": 0})  # per image, idle power included
    watts: float = field(metadata={"ge": 0})  # mean of the series
    source: str  # the sensor: its rail, package or card
    idle_watts: float | None  # just before, with nothing running; None if it could not be read
    seconds: float | None  # length of the series
    calls: int | None
    includes_idle: bool = True


class Meter:
    """Joules of a sensor between ``start`` and ``stop``: its counter's, else integrated watts."""

    def __init__(self, sensor: Sensor, interval_s: float = INTERVAL_S) -> None:
        self.sensor, self.interval_s = sensor, interval_s
        self.readings: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._count: float | None = None

    def start(self) -> None:
        """Begins to measure."""
        if self.sensor.joules is not None:
            self._count = self.sensor.joules()
            return
        self._read()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> float | None:
        """Joules since ``start``; None if the sensor failed meanwhile."""
        if self.sensor.joules is not None:
            return counted_j(self._count, self.sensor.joules(), self.sensor.wraps_at_j)
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._read()
        return energy_j(self.readings)

    def _run(self) -> None:
        while not self._ended.wait(self.interval_s):
            self._read()

    def _read(self) -> None:
        if (watts := self.sensor.watts()) is not None:
            self.readings.append((time.perf_counter(), watts))


def measure_energy(
    call: Callable[[], object],
    seconds: float,
    sensor: Sensor,
    images: int = 1,
    idle: float | None = None,
) -> Energy | None:
    """Calls for ``seconds`` (at least ``LEAST_SECONDS``); None if the sensor gave no reading.

    A call takes ``images``; ``idle`` is the power with nothing running, if measured before.
    """
    meter = Meter(sensor)
    calls = 0
    call()
    start = time.perf_counter()
    meter.start()
    while time.perf_counter() - start < max(seconds, LEAST_SECONDS):
        call()
        calls += 1
    joules, spent = meter.stop(), time.perf_counter() - start
    if joules is None:
        return None
    mj = joules * 1e3 / (calls * images)
    return Energy(mj, joules / spent, sensor.source, idle, spent, calls)


def idle_watts(sensor: Sensor, seconds: float = 1.0) -> float | None:
    """Mean power while this process sleeps."""
    meter = Meter(sensor)
    start = time.perf_counter()
    meter.start()
    time.sleep(seconds)
    joules = meter.stop()
    return None if joules is None else joules / (time.perf_counter() - start)
