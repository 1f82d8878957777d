"""Profiles of hardware: one YAML file per device, each number with its source.

Peaks are the maker's dense figures (never the sparse ones of advertisements). The share of a peak
that a network of batch 1 reaches is ours: ``utilization`` and ``overhead_us`` are typical values,
marked as such, which a calibration with a ``bench.json`` corrects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from compress.budgets.variants import HOST, PRECISIONS
from compress.engine.errors import BudgetError, ConfigError, require_known

FOLDER = Path(__file__).parent / "devices"
#: of utilization: shares of the peaks that are reached
KINDS = ("dense", "depthwise", "elementwise", "memory")
#: number in a file -> (attribute of the profile, factor to its unit)
UNITS = {
    "bandwidth_gb_s": ("bandwidth", 1e9),
    "cache_mb": ("cache_bytes", 1e6),
    "cache_gb_s": ("cache_bandwidth", 1e9),
    "overhead_us": ("overhead_s", 1e-6),
    "fixed_us": ("fixed_s", 1e-6),
    "watts": ("watts", 1.0),
    "ram_gb": ("ram_bytes", 1e9),
    "engine_mb": ("engine_bytes", 1e6),
}
TEXTS = {"title", "mode", "engine", "matches", "sources", "notes"}
SOURCED = {"peak_tops", "utilization", *UNITS} - {"cache_gb_s", "engine_mb"}


@dataclass(frozen=True, kw_only=True)
class DeviceProfile:
    """A device in one power mode.

    A precision without a ``peak`` is not accelerated: such a model runs in fp32.
    """

    name: str  # what follows the @ in a budget
    title: str
    mode: str
    peak: Mapping[str, float]  # precision -> dense operations/s, 2 per multiply-accumulate
    bandwidth: float  # bytes/s of main memory
    cache_bytes: float  # the last level; weights and activations that fit are read from it
    cache_bandwidth: float  # bytes/s
    overhead_s: float  # per kernel: launch, dispatch
    fixed_s: float  # per inference, whatever it computes
    watts: float | None  # of the module at load in this mode: the upper bound of an energy
    ram_bytes: float | None
    engine_bytes: float  # memory that the inference engine takes before any model is loaded
    utilization: Mapping[str, float]  # kind of kernel -> share of the peak that it reaches
    engine: str  # what runs the model, a row of ENGINES
    matches: tuple[str, ...]  # texts in the board's own name (host.device of a bench.json)
    sources: Mapping[str, str]  # field -> where its number comes from
    notes: tuple[str, ...] = ()  # caveats for the reader of an estimate

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that it computes in, the narrowest last."""
        return tuple(name for name in PRECISIONS if name in self.peak)

    def rate(self, precision: str, kind: str = "dense") -> float:
        """Operations per second of a kind of kernel in a model of this precision.

        Only dense products reach matrix units; other kernels run on the vector units.
        """
        computed = self.computes(precision)
        peak = self.peak[computed]
        if kind != "dense":
            peak = min(peak, PRECISIONS.get(computed, 1) * self.peak["fp32"])
        return peak * self.utilization[kind]

    def computes(self, precision: str) -> str:
        """The precision that a model of ``precision`` is computed in here."""
        return precision if precision in self.peak else "fp32"


def names() -> list[str]:
    """Every device that can follow the ``@``: the profiles, and this machine."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def device(name: str) -> DeviceProfile:
    """The profile of a name; ``host`` is derived from what the kernel says about this machine."""
    require_known(name, names(), "unknown device", BudgetError)
    return _host() if name == HOST else from_plain(name, _plain(name))


def matching(board: str | None) -> list[str]:
    """Names of the profiles that match a board's own name (``host.device`` of a bench.json)."""
    text = (board or "").casefold()
    return [
        name
        for name in names()
        if name != HOST and any(match.casefold() in text for match in device(name).matches)
    ]


def lines() -> list[str]:
    """``compress list devices``: one aligned line per device."""
    rows = []
    for d in map(device, names()):
        peaks = "  ".join(f"{name} {_ops(value):>9}" for name, value in d.peak.items())
        rows.append((d.name, peaks, f"{d.bandwidth / 1e9:.0f} GB/s", d.mode, d.title))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def from_plain(name: str, plain: Mapping[str, Any]) -> DeviceProfile:
    """A profile from the values of its file, in the file's units (TOPS, GB/s, MB, µs).

    Raises:
        ConfigError: missing or unknown fields, numbers without a source, rates that are not
            positive.
    """
    what = f"device profile {name} has"
    odd = sorted(set(plain) ^ ({"peak_tops", "utilization", *UNITS} | TEXTS))
    if odd:
        raise ConfigError(f"{what} missing or unknown fields", got=", ".join(odd))
    peaks = plain["peak_tops"]
    shares = plain["utilization"]
    bare = sorted(key for key in SOURCED if plain[key] is not None and key not in plain["sources"])
    if bare:
        raise ConfigError(f"{what} numbers without a source", got=", ".join(bare))
    if set(shares) != set(KINDS) or "fp32" not in peaks:
        raise ConfigError(f"{what} no peak of fp32, or not the utilization of {', '.join(KINDS)}")
    rates = [*peaks.values(), *shares.values(), plain["bandwidth_gb_s"], plain["cache_gb_s"]]
    if not all(value > 0 for value in rates):
        raise ConfigError(f"{what} a rate that is not positive", got=rates)
    texts = {key: plain[key] for key in ("title", "mode", "engine", "sources")}
    numbers: Mapping[str, Any] = {
        attribute: None if plain[key] is None else plain[key] * factor
        for key, (attribute, factor) in UNITS.items()
    }
    return DeviceProfile(
        name=name,
        peak={key: value * 1e12 for key, value in peaks.items()},
        utilization=dict(shares),
        matches=tuple(plain["matches"]),
        notes=tuple(plain["notes"]),
        **texts,
        **numbers,
    )


@cache
def _plain(name: str) -> Mapping[str, Any]:
    import yaml

    loaded: Mapping[str, Any] = yaml.safe_load(
        (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    )
    return loaded


def _host() -> DeviceProfile:
    """This machine, one thread: ``host.yaml`` scaled by clock and widest vector instructions."""
    from runtime.host import telemetry

    plain = dict(_plain(HOST))
    ops_per_cycle = plain.pop("ops_per_cycle")
    assumed_mhz = plain.pop("assumed_clock_mhz")
    machine = telemetry.host()
    isa = next((name for name in ops_per_cycle if name in machine.isa), "baseline")
    mhz = machine.clock_max_mhz or machine.clock_mhz or assumed_mhz
    peaks = {key: value * mhz / 1e6 for key, value in ops_per_cycle[isa].items()}
    profile = from_plain(HOST, {**plain, "peak_tops": peaks})
    return replace(
        profile,
        title=machine.device or machine.cpu or profile.title,
        mode=f"1 thread, {isa} at {mhz / 1e3:.1f} GHz",
        ram_bytes=None if machine.memory_bytes is None else float(machine.memory_bytes),
    )


def _ops(rate: float) -> str:
    return f"{rate / 1e12:.3g} T" if rate >= 1e12 else f"{rate / 1e9:.3g} G"
