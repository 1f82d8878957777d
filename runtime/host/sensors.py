"""Power sensors of a machine.

    INA3221    Jetson: rails of the board, mV and mA behind hwmon (JetPack 5, 6) or iio (JetPack 4)
    tegrastats the same rails from NVIDIA's program, if they are not readable as files
    RAPL       x86: a counter of microjoules per processor package (and its DRAM, where counted)
    NVML       an NVIDIA card: a counter of millijoules, or watts now
    battery    its discharge, of the whole machine

Every finder takes the root of the tree, so that it is tested on recorded machines.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path

from runtime.host import jetson, nvml
from runtime.host.sysfs import ROOT, matches, number, product, text

CPU = "cpu"
GPU = "gpu"
BOTH = frozenset({CPU, GPU})
MICRO = 1e-6


@dataclass(frozen=True)
class Sensor:
    """A meter of the power of a part of this machine."""

    source: str  # its name, e.g. "INA3221 VDD_IN"
    covers: frozenset[str]  # "cpu", "gpu" or both: whose work is inside the figure
    watts: Callable[[], float | None]  # power now; None if it cannot be read
    joules: Callable[[], float | None] | None = None  # a counter that rises, better than watts,
    wraps_at_j: float | None = None  # until here


def sensor(unit: str = CPU, root: Path = ROOT) -> Sensor | None:
    """The best readable sensor that covers ``unit``."""
    for find in FINDERS:
        candidate = find(root)
        if candidate is not None and unit in candidate.covers:
            readers = (candidate.watts, candidate.joules)
            if any(reader is not None and reader() is not None for reader in readers):
                return candidate
    return None


def obstacles(root: Path = ROOT) -> list[str]:
    """Sensors that exist but cannot be read, with the remedy."""
    counters = [zone / "energy_uj" for zone in _packages(root)]
    if counters and not all(os.access(counter, os.R_OK) for counter in counters):
        files = (counters[0].parent.parent / "intel-rapl:*" / "energy_uj").relative_to(root)
        return [f"RAPL counts energy but only for root: sudo chmod a+r /{files}"]
    return []


def ina3221(root: Path = ROOT) -> Sensor | None:
    """The rail that feeds a Jetson module, or the sum of all (AGX Orin, AGX Xavier)."""
    present = jetson.rails(root)
    names = jetson.module_rails(present)
    watts = [present[name] for name in names]
    return Sensor(f"INA3221 {' + '.join(names)}", BOTH, lambda: _sum(watts)) if names else None


def tegrastats(root: Path = ROOT) -> Sensor | None:
    """The same rails from ``tegrastats`` of this machine, which runs until this process ends."""
    lines = _tegrastats() if root == ROOT else None
    first = lines.newest() if lines else None
    if lines is None or not first:
        return None
    names = jetson.module_rails(first)

    def watts() -> float | None:
        newest = lines.newest() or {}
        return _sum([partial(newest.get, name) for name in names])

    return Sensor(f"tegrastats {' + '.join(names)}", BOTH, watts)


def rapl(root: Path = ROOT) -> Sensor | None:
    """All processor packages and the DRAM that is counted with them."""
    zones = _packages(root)
    inner = [zone for package in zones for zone in matches(package.parent, f"{package.name}:*")]
    zones += [zone for zone in inner if text(zone / "name") == "dram"]
    readers = [partial(number, zone / "energy_uj", MICRO) for zone in zones]
    if not readers or any(read() is None for read in readers):
        return None
    names = "+".join(text(zone / "name") or zone.name for zone in zones)
    limits = [number(zone / "max_energy_range_uj", MICRO) for zone in zones]
    # Counters of several zones wrap one by one: only a single zone's wrap can be undone.
    wraps_at_j = limits[0] if len(zones) == 1 else None
    joules = partial(_sum, readers)
    return Sensor(f"RAPL {names}", frozenset({CPU}), lambda: None, joules, wraps_at_j)


def card(root: Path = ROOT) -> Sensor | None:
    """The first NVIDIA card; ``root`` is unused, because NVML is no file."""
    gpu = nvml.first_gpu()
    if gpu is None or (gpu.watts() is None and gpu.joules() is None):
        return None
    joules = gpu.joules if gpu.joules() is not None else None
    return Sensor(f"NVML {gpu.name}", frozenset({GPU}), gpu.watts, joules)


def battery(root: Path = ROOT) -> Sensor | None:
    """The first discharging battery: on mains its current says nothing about the load."""
    for supply in matches(root, "sys/class/power_supply/*"):
        if text(supply / "type") != "Battery" or text(supply / "status") != "Discharging":
            continue
        power = partial(number, supply / "power_now", MICRO)
        computed = product(supply / "voltage_now", supply / "current_now", MICRO)
        for watts in (power, computed):
            if watts() is not None:
                return Sensor(f"battery {supply.name}", BOTH, watts)
    return None


FINDERS: tuple[Callable[[Path], Sensor | None], ...] = (ina3221, tegrastats, rapl, card, battery)


def energy_j(readings: list[tuple[float, float]]) -> float | None:
    """Joules of (t_s, watts) in order of time, by trapezoids; None below two readings."""
    if len(readings) < 2:
        return None
    return sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in pairwise(readings))


def counted_j(before: float | None, after: float | None, wraps_at_j: float | None) -> float | None:
    """Joules between two readings of a counter; None if it wrapped and its range is unknown."""
    if before is None or after is None:
        return None
    if after >= before:
        return after - before
    return None if wraps_at_j is None else after + wraps_at_j - before


@lru_cache(maxsize=1)
def _tegrastats() -> jetson.TegrastatsStream | None:
    lines = jetson.stream()
    if lines is not None:
        atexit.register(lines.close)
    return lines


def _packages(root: Path) -> list[Path]:
    zones = [z for z in matches(root, "sys/class/powercap/*-rapl:[0-9]*") if z.name.count(":") == 1]
    return [zone for zone in zones if (text(zone / "name") or "").startswith("package")]


def _sum(readers: Iterable[Callable[[], float | None]]) -> float | None:
    values = [read() for read in readers]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
