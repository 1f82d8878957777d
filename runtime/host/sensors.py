"""Power sensors of a machine, and what an inference costs by them.

    INA3221    Jetson: rails of the board, mV and mA behind hwmon (JetPack 5 and 6) or iio (JetPack
               4)
    tegrastats the same rails by NVIDIA's program, where they cannot be read as files
    RAPL       x86: a counter of microjoules per processor package (and its DRAM, where it is
               counted)
    NVML       an NVIDIA card: a counter of millijoules, or watts now
    battery    whatever is discharged into the whole machine

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
from typing import Any

from runtime.host import jetson, nvml
from runtime.host.sysfs import ROOT, found, number, text

CPU, GPU = "cpu", "gpu"
BOTH = frozenset({CPU, GPU})
MILLI, MICRO = 1e-3, 1e-6

INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")  # what the module takes in: nothing is added to it
PART_OF_ANOTHER = frozenset(
    {"VDDQ_VDD2_1V8AO"}
)  # Orin: fed from VIN_SYS_5V0, so it would be counted twice
NOT_CONNECTED = frozenset({"NC", ""})
SHUNT_SUM = "sum of shunt voltages"


@dataclass(frozen=True)
class Sensor:
    """Something that knows the power of a part of this machine.

    Attributes:
        source: which one, e.g. "INA3221 VDD_IN".
        covers: "cpu", "gpu" or both: whose work is inside the figure.
        watts: power now; None where it cannot be read.
        joules: a counter that only rises (until ``wraps_at_j``), better than watts; None where
            there is none.
    """

    source: str
    covers: frozenset[str]
    watts: Callable[[], float | None]
    joules: Callable[[], float | None] | None = None
    wraps_at_j: float | None = None


@dataclass(frozen=True)
class Rail:
    """A rail behind an INA3221."""

    name: str
    watts: Callable[[], float | None]


def sensor(unit: str = CPU, root: Path = ROOT) -> Sensor | None:
    """The best sensor that covers ``unit``; None where this machine has none that can be read."""
    for find in FINDERS:
        candidate = find(root)
        if candidate is not None and unit in candidate.covers and _answers(candidate):
            return candidate
    return None


def obstacles(root: Path = ROOT) -> list[str]:
    """Sensors that exist but cannot be read, with the remedy."""
    counters = [zone / "energy_uj" for zone in _packages(root)]
    if counters and not all(os.access(counter, os.R_OK) for counter in counters):
        files = "/" + str(
            (counters[0].parent.parent / "intel-rapl:*" / "energy_uj").relative_to(root)
        )
        return [f"RAPL counts energy but only for root: sudo chmod a+r {files}"]
    return []


def rails(root: Path = ROOT) -> list[Rail]:
    """Every connected rail of a Jetson, by name."""
    out: dict[str, Rail] = {}
    for label in [
        *found(root, "sys/bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/in*_label"),
        *found(root, "sys/bus/i2c/devices/*/hwmon/hwmon*/in*_label"),
        *found(root, "sys/class/hwmon/hwmon*/in*_label"),
    ]:
        name, channel = text(label) or "", label.name.removeprefix("in").removesuffix("_label")
        volts, amperes = (
            label.with_name(f"in{channel}_input"),
            label.with_name(f"curr{channel}_input"),
        )
        if (
            name not in NOT_CONNECTED
            and name != SHUNT_SUM
            and _is_ina3221(label.parent)
            and amperes.exists()
        ):
            out.setdefault(name, Rail(name, _product(volts, amperes, MILLI)))
    for label in found(root, "sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*"):
        power = label.with_name(f"in_power{label.name.removeprefix('rail_name_')}_input")
        name = text(label) or ""
        if name not in NOT_CONNECTED:
            out.setdefault(name, Rail(name, _reader(power, MILLI)))
    return [out[name] for name in sorted(out)]


def ina3221(root: Path = ROOT) -> Sensor | None:
    """The rail that feeds a Jetson module, or the sum of all where none does (AGX Orin, AGX
    Xavier).
    """
    present = {rail.name: rail for rail in rails(root)}
    for name in INPUT_RAILS:
        if name in present:
            return Sensor(f"INA3221 {name}", BOTH, present[name].watts)
    names = _added_up(present)
    if not names:
        return None
    return Sensor(
        f"INA3221 {' + '.join(names)}", BOTH, lambda: _sum([present[name].watts for name in names])
    )


def tegrastats(root: Path = ROOT) -> Sensor | None:
    """The same rails by ``tegrastats``, which goes on running until this process ends; only of this
    machine.
    """
    lines = _tegrastats() if root == ROOT else None
    first = lines.newest() if lines else None
    if lines is None or first is None or not first.watts:
        return None
    inputs = [name for name in INPUT_RAILS if name in first.watts]
    names = inputs[:1] or _added_up(first.watts)
    return Sensor(f"tegrastats {' + '.join(names)}", BOTH, lambda: _named(lines.newest(), names))


def rapl(root: Path = ROOT) -> Sensor | None:
    """All processor packages and the DRAM that is counted with them."""
    zones = _packages(root)
    zones += [
        zone
        for package in zones
        for zone in found(package.parent, f"{package.name}:*")
        if text(zone / "name") == "dram"
    ]
    readers = [_reader(zone / "energy_uj", MICRO) for zone in zones]
    if not readers or any(read() is None for read in readers):
        return None
    names = "+".join(text(zone / "name") or zone.name for zone in zones)
    limits = [number(zone / "max_energy_range_uj", MICRO) for zone in zones]
    # Counters of several zones wrap one by one: only a single zone's wrap can be undone.
    wraps_at_j = limits[0] if len(zones) == 1 else None
    return Sensor(
        f"RAPL {names}", frozenset({CPU}), lambda: None, lambda: _sum(readers), wraps_at_j
    )


def card(root: Path = ROOT) -> Sensor | None:
    """The first NVIDIA card; ``root`` is not looked at, NVML is no file."""
    gpu = nvml.first_gpu()
    if gpu is None or (gpu.watts() is None and gpu.joules() is None):
        return None
    return Sensor(
        f"NVML {gpu.name}",
        frozenset({GPU}),
        gpu.watts,
        gpu.joules if gpu.joules() is not None else None,
    )


def battery(root: Path = ROOT) -> Sensor | None:
    """The first battery that is being discharged: on mains its current says nothing about the
    load.
    """
    for supply in found(root, "sys/class/power_supply/*"):
        if text(supply / "type") != "Battery" or text(supply / "status") != "Discharging":
            continue
        if number(supply / "power_now") is not None:
            return Sensor(f"battery {supply.name}", BOTH, _reader(supply / "power_now", MICRO))
        watts = _product(supply / "voltage_now", supply / "current_now", MICRO)
        if watts() is not None:
            return Sensor(f"battery {supply.name}", BOTH, watts)
    return None


FINDERS: tuple[Callable[[Path], Sensor | None], ...] = (ina3221, tegrastats, rapl, card, battery)


def energy_j(readings: list[tuple[float, float]]) -> float | None:
    """Joules under watts over seconds, (t_s, watts) in order of time, by trapezoids; None below two
    readings.
    """
    if len(readings) < 2:
        return None
    return sum(
        (after[0] - before[0]) * (before[1] + after[1]) / 2 for before, after in pairwise(readings)
    )


def counted_j(before: float | None, after: float | None, wraps_at_j: float | None) -> float | None:
    """Joules between two looks at a counter; None where it began again and its range is not
    known.
    """
    if before is None or after is None:
        return None
    if after >= before:
        return after - before
    return None if wraps_at_j is None else after + wraps_at_j - before


def _added_up(names: Iterable[str]) -> list[str]:
    """Rails whose sum is the module's power."""
    return sorted(name for name in names if name not in PART_OF_ANOTHER)


@lru_cache(maxsize=1)
def _tegrastats() -> jetson.TegrastatsStream | None:
    lines = jetson.stream()
    if lines is not None:
        atexit.register(lines.close)
    return lines


def _named(line: jetson.TegraStats | None, names: list[str]) -> float | None:
    return None if line is None else _sum([partial(line.watts.get, name) for name in names])


def _answers(candidate: Sensor) -> bool:
    return candidate.watts() is not None or (
        candidate.joules is not None and candidate.joules() is not None
    )


def _packages(root: Path) -> list[Path]:
    zones = found(root, "sys/class/powercap/*-rapl:[0-9]*")
    return [
        zone
        for zone in zones
        if zone.name.count(":") == 1 and (text(zone / "name") or "").startswith("package")
    ]


def _is_ina3221(folder: Path) -> bool:
    return "ina3221" in (text(folder / "name") or "") or "ina3221" in str(folder)


def _reader(file: Path, unit: float) -> Callable[[], float | None]:
    return lambda: number(file, unit)


def _product(volts: Path, amperes: Path, unit: float) -> Callable[[], float | None]:
    return lambda: _multiplied(number(volts, unit), number(amperes, unit))


def _multiplied(volts: float | None, amperes: float | None) -> float | None:
    return (
        None if volts is None or amperes is None else volts * abs(amperes)
    )  # some batteries count discharge below 0


def _sum(readers: Any) -> float | None:
    values = [read() for read in readers]
    return None if None in values else sum(values)
