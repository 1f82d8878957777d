"""Profiles of hardware: what a roofline needs to know of a device, each number with its source, one
YAML file a device.

Peaks are what the maker states, dense (never the sparse figure that advertisements quote). How much
of a peak a network of
batch 1 reaches is ours: ``utilization`` and ``overhead_us`` are typical values, marked as such, and
    what a calibration with a
``bench.json`` corrects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from compress.engine.errors import BudgetError, ConfigError, nearest

FOLDER = Path(__file__).parent / "devices"
HOST = "host"
KINDS = (
    "dense",
    "depthwise",
    "elementwise",
    "memory",
)  # of utilization: shares of the peaks that are reached

SOURCED = (
    "peak_tops",
    "bandwidth_gb_s",
    "cache_mb",
    "overhead_us",
    "fixed_us",
    "watts",
    "ram_gb",
    "utilization",
)


@dataclass(frozen=True)
class Device:
    """A device in one power mode.

    Attributes:
        name: as it is written after the ``@``.
        title: the maker's name.
        mode: the power mode that the numbers are for.
        peak: precision -> operations per second (2 per multiply-accumulate), dense. A precision
            that is not there is not
            accelerated: such a model runs as the widest one that is.
        bandwidth: bytes per second of main memory.
        cache_bytes: the last level of cache; weights and activations that fit are read at
            ``cache_bandwidth``.
        cache_bandwidth: bytes per second.
        overhead_s: seconds per kernel (launch, dispatch).
        fixed_s: seconds per inference, whatever it computes.
        watts: what the module draws at load in this mode, the upper bound of an energy estimate.
        ram_bytes: memory.
        engine_bytes: memory that the inference engine takes before any model is loaded.
        utilization: kind of operation -> share of the peak that it reaches.
        engine: what runs the model: "tensorrt", "onnxruntime", "npu".
        matches: texts that the board's own name (``host.device`` of a bench.json) contains.
        sources: field -> where its number comes from.
        notes: what a reader must know.
    """

    name: str
    title: str
    mode: str
    peak: Mapping[str, float]
    bandwidth: float
    cache_bytes: float
    cache_bandwidth: float
    overhead_s: float
    fixed_s: float
    watts: float | None
    ram_bytes: float | None
    engine_bytes: float
    utilization: Mapping[str, float]
    engine: str
    matches: tuple[str, ...]
    sources: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that it computes in, the narrowest last."""
        return tuple(name for name in ("fp32", "fp16", "int8") if name in self.peak)

    def rate(self, precision: str, kind: str = "dense") -> float:
        """Operations per second of a kind of kernel whose model has this precision.

        Only dense products reach matrix units; others run on the vector units, which do two halves
        or four bytes at a time.
        """
        computed = self.computes(precision)
        peak = self.peak[computed]
        if kind != "dense":
            peak = min(peak, {"fp16": 2, "int8": 4}.get(computed, 1) * self.peak["fp32"])
        return peak * self.utilization[kind]

    def computes(self, precision: str) -> str:
        """The precision that a model of ``precision`` is computed in here."""
        return precision if precision in self.peak else "fp32"


def names() -> list[str]:
    """Every device that can follow the ``@``: the profiles, and the machine this runs on."""
    return sorted([HOST, *(path.stem for path in FOLDER.glob("*.yaml") if path.stem != HOST)])


def device(name: str) -> Device:
    """The profile of a name; ``host`` is put together from what the kernel says of this machine.

    Raises:
        BudgetError: no such device, with the nearest name.
    """
    if name not in names():
        raise BudgetError("unknown device", got=repr(name), remedy=nearest(name, names()))
    return _host() if name == HOST else _read(FOLDER / f"{name}.yaml")


def matching(board: str | None) -> list[str]:
    """Names of the profiles whose board calls itself ``board`` (``host.device`` of a
    bench.json).
    """
    told = (board or "").casefold()
    return [
        name
        for name in names()
        if name != HOST and any(m.casefold() in told for m in device(name).matches if told)
    ]


def lines() -> list[str]:
    """``compress list devices``: one aligned line per device."""
    rows = [
        (d.name, _peaks(d), f"{d.bandwidth / 1e9:.0f} GB/s", d.mode, d.title)
        for d in map(device, names())
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


@cache
def _read(path: Path) -> Device:
    import yaml

    return from_plain(path.stem, yaml.safe_load(path.read_text()))


def from_plain(name: str, plain: Mapping[str, Any]) -> Device:
    """A profile from the values of its file, in the file's units (TOPS, GB/s, MB, µs).

    Raises:
        ConfigError: a missing or unknown field, a number without a source, a peak that is not
            positive.
    """
    wanted = {
        "title",
        "mode",
        "peak_tops",
        "bandwidth_gb_s",
        "cache_mb",
        "cache_gb_s",
        "overhead_us",
        "fixed_us",
        "watts",
        "ram_gb",
        "engine_mb",
        "utilization",
        "engine",
        "matches",
        "sources",
        "notes",
    }
    odd = sorted(set(plain) ^ wanted)
    if odd:
        raise ConfigError(
            f"device profile {name} has missing or unknown fields", got=", ".join(odd)
        )
    unsourced = sorted(
        field for field in SOURCED if plain[field] is not None and field not in plain["sources"]
    )
    if unsourced:
        raise ConfigError(
            f"device profile {name} has numbers without a source", got=", ".join(unsourced)
        )
    if set(plain["utilization"]) != set(KINDS) or "fp32" not in plain["peak_tops"]:
        raise ConfigError(
            f"device profile {name} needs a peak of fp32, and utilization of {', '.join(KINDS)}"
        )
    numbers = [
        *plain["peak_tops"].values(),
        *plain["utilization"].values(),
        plain["bandwidth_gb_s"],
        plain["cache_gb_s"],
    ]
    if not all(value > 0 for value in numbers):
        raise ConfigError(f"device profile {name} has a rate that is not positive", got=numbers)
    return Device(
        name,
        plain["title"],
        plain["mode"],
        {key: value * 1e12 for key, value in plain["peak_tops"].items()},
        plain["bandwidth_gb_s"] * 1e9,
        plain["cache_mb"] * 1e6,
        plain["cache_gb_s"] * 1e9,
        plain["overhead_us"] * 1e-6,
        plain["fixed_us"] * 1e-6,
        plain["watts"],
        None if plain["ram_gb"] is None else plain["ram_gb"] * 1e9,
        plain["engine_mb"] * 1e6,
        dict(plain["utilization"]),
        plain["engine"],
        tuple(plain["matches"]),
        dict(plain["sources"]),
        tuple(plain["notes"]),
    )


def _host() -> Device:
    """This machine, one thread: the profile ``host.yaml`` scaled by its clock and its widest vector
    instructions.
    """
    import yaml

    from runtime.host import telemetry

    plain = yaml.safe_load((FOLDER / "host.yaml").read_text())
    table, assumed = plain.pop("ops_per_cycle"), plain.pop("assumed_clock_mhz")
    told = telemetry.host()
    isa = next((name for name in table if name in told.isa), "baseline")
    clock = told.clock_max_mhz or told.clock_mhz or assumed
    made = from_plain(
        HOST,
        {**plain, "peak_tops": {key: value * clock / 1e6 for key, value in table[isa].items()}},
    )
    memory = None if told.memory_bytes is None else float(told.memory_bytes)
    mode = f"1 thread, {isa} at {clock / 1e3:.1f} GHz"
    return replace(made, title=told.device or told.cpu or made.title, mode=mode, ram_bytes=memory)


def _peaks(shown: Device) -> str:
    return "  ".join(f"{name} {_ops(value):>9}" for name, value in shown.peak.items())


def _ops(rate: float) -> str:
    return f"{rate / 1e12:.3g} T" if rate >= 1e12 else f"{rate / 1e9:.3g} G"
