"""Energy from both kinds of sensor."""

from __future__ import annotations

import time

import pytest

from runtime.host.energy import Meter, idle_watts, measure_energy
from runtime.host.sensors import BOTH, Sensor


def test_energy_of_a_constant_rail_is_power_times_time() -> None:
    cost = measure_energy(
        lambda: time.sleep(0.01), 0.2, Sensor("rail", BOTH, lambda: 5.0), images=2, idle=3.0
    )
    assert cost is not None and cost.seconds >= 1.0, "shorter series are not trusted"
    assert cost.watts == pytest.approx(5.0, rel=0.05)
    assert cost.mj_per_inference == pytest.approx(cost.watts * cost.seconds / cost.calls / 2 * 1e3)
    assert (cost.source, cost.idle_watts, cost.includes_idle) == ("rail", 3.0, True)


def test_energy_of_a_counter_needs_no_thread() -> None:
    counts = iter([10.0, 14.0])
    cost = measure_energy(
        lambda: time.sleep(0.01), 0.1, Sensor("counter", BOTH, lambda: None, lambda: next(counts))
    )
    assert cost is not None and cost.mj_per_inference == pytest.approx(4000 / cost.calls)


def test_a_sensor_that_falls_silent_gives_no_energy() -> None:
    assert measure_energy(lambda: time.sleep(0.01), 0.1, Sensor("rail", BOTH, lambda: None)) is None
    assert idle_watts(Sensor("rail", BOTH, lambda: None), 0.05) is None
    assert idle_watts(Sensor("rail", BOTH, lambda: 1.5), 0.05) == pytest.approx(1.5, rel=0.05)


def test_a_meter_reads_while_the_call_runs() -> None:
    meter = Meter(Sensor("rail", BOTH, lambda: 2.0), interval_s=0.01)
    meter.start()
    time.sleep(0.2)
    assert meter.stop() is not None and len(meter.readings) > 3
