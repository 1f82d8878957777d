"""Facts about the host from /proc and /sys. Every one is optional: None where the kernel does not tell.

All functions take the root of the tree, so that they are tested on recorded machines.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path("/")

# Flag in /proc/cpuinfo -> what it means for inference.
ISA = {
    "avx2": "avx2", "avx512f": "avx512", "avx_vnni": "avx-vnni",
    "avx512_vnni": "avx512-vnni", "avx512_bf16": "avx512-bf16",
    "amx_tile": "amx", "amx_int8": "amx-int8", "amx_bf16": "amx-bf16",
    "asimd": "neon", "neon": "neon", "asimdhp": "fp16", "asimddp": "dotprod",
    "i8mm": "i8mm", "bf16": "bf16", "sve": "sve",
}  # fmt: skip


@dataclass(frozen=True)
class Host:
    """What a latency figure has to be read with."""

    device: str | None  # board name, e.g. of a Jetson or Raspberry Pi
    cpu: str | None
    arch: str
    cores_logical: int | None
    cores_physical: int | None
    cores_usable: int  # by this process
    isa: tuple[str, ...]
    governor: str | None
    power_mode: str | None  # NVIDIA nvpmodel
    clock_mhz: float | None
    clock_max_mhz: float | None
    temperature_c: float | None
    memory_bytes: int | None
    memory_available_bytes: int | None
    kernel: str
    python: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {**asdict(self), "isa": list(self.isa)}


@dataclass(frozen=True)
class Reading:
    """One look at what makes latency drift. Jiffies count since boot (process: since its start)."""

    clock_mhz: float | None = None
    temperature_c: float | None = None
    throttle_events: int | None = None
    total_jiffies: int | None = None
    busy_jiffies: int | None = None
    steal_jiffies: int | None = None
    own_jiffies: int | None = None


def host(root: Path = ROOT) -> Host:
    """Facts about the machine."""
    info = _cpuinfo(root)
    memory = _meminfo(root)
    flags = set(info.get("flags", info.get("Features", "")).split())
    return Host(
        device=_device(root),
        cpu=info.get("model name") or info.get("Model") or info.get("Hardware"),
        arch=platform.machine(),
        cores_logical=_int(info.get("processors")),
        cores_physical=_physical_cores(root),
        cores_usable=usable_cores(root),
        isa=tuple(sorted({meaning for flag, meaning in ISA.items() if flag in flags})),
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        power_mode=_text(root / "var/lib/nvpmodel/status"),
        clock_mhz=clock_mhz(root),
        clock_max_mhz=_khz(_text(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")),
        temperature_c=temperature_c(root),
        memory_bytes=memory.get("MemTotal"),
        memory_available_bytes=memory.get("MemAvailable"),
        kernel=platform.release(),
        python=platform.python_version(),
    )


def reading(root: Path = ROOT) -> Reading:
    """Clocks, temperature and processor time now."""
    stat = _cpu_times(root)
    own = (_text(root / "proc/self/stat") or "").rpartition(")")[2].split()
    total = sum(stat[:8]) if len(stat) >= 8 else None
    return Reading(
        clock_mhz=clock_mhz(root),
        temperature_c=temperature_c(root),
        throttle_events=_throttle_events(root),
        total_jiffies=total,
        busy_jiffies=None if total is None else total - stat[3] - stat[4],  # without idle and iowait
        steal_jiffies=stat[7] if len(stat) >= 8 else None,
        own_jiffies=_sum(own[11:15]),  # utime, stime, and those of waited-for children
    )


def clock_mhz(root: Path = ROOT) -> float | None:
    """The fastest core's clock now."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    clocks = [mhz for mhz in (_khz(_text(file)) for file in files) if mhz]
    return max(clocks) if clocks else _float(_cpuinfo(root).get("cpu MHz"))


def temperature_c(root: Path = ROOT) -> float | None:
    """The hottest sensor; implausible ones (disconnected) are left out."""
    zones = [*root.glob("sys/class/thermal/thermal_zone*/temp"), *root.glob("sys/class/hwmon/hwmon*/temp*_input")]
    values = [milli / 1000 for milli in (_float(_text(zone)) for zone in zones) if milli is not None]
    return max((value for value in values if -40 < value < 150 and value != 0), default=None)


def usable_cores(root: Path = ROOT) -> int:
    """Physical cores that this process may run on; logical ones where the kernel does not tell."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    physical = _physical_cores(root)
    return max(1, min(allowed, physical) if physical else allowed)


def peak_rss_bytes(root: Path = ROOT) -> int | None:
    """The most memory this process ever held (VmHWM; unlike getrusage it does not inherit the parent's peak)."""
    return _sizes(root / "proc/self/status").get("VmHWM")


def _cpuinfo(root: Path) -> dict[str, str]:
    """First value of each key; "processors" counts the processors."""
    found: dict[str, str] = {}
    count = 0
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        count += key.strip() == "processor"
        found.setdefault(key.strip(), value.strip())
    return {**found, "processors": str(count)} if count else found


def _physical_cores(root: Path) -> int | None:
    lists = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    groups = {text for text in map(_text, lists) if text}
    if groups:
        return len(groups)
    packages, package = set(), "0"
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "physical id":
            package = value
        elif key == "core id":
            packages.add((package, value))
    return len(packages) or None


def _device(root: Path) -> str | None:
    tree = _text(root / "proc/device-tree/model")
    return tree.rstrip("\x00") if tree else _text(root / "sys/class/dmi/id/product_name")


def _throttle_events(root: Path) -> int | None:
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    return _sum([text for text in map(_text, files) if text])


def _meminfo(root: Path) -> dict[str, int]:
    return _sizes(root / "proc/meminfo")


def _sizes(file: Path) -> dict[str, int]:
    """Key -> bytes, of lines like ``MemTotal:  123 kB``."""
    rows = [line.split() for line in (_text(file) or "").splitlines()]
    sizes = [row for row in rows if len(row) == 3 and row[2] == "kB" and row[1].isdigit()]
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in sizes}


def _cpu_times(root: Path) -> list[int]:
    lines = (_text(root / "proc/stat") or "").splitlines()
    row = lines[0].split() if lines else []
    return [int(value) for value in row[1:] if value.isdigit()] if row and row[0] == "cpu" else []


def _text(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").strip() or None
    except OSError:
        return None


def _float(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _int(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _khz(text: str | None) -> float | None:
    value = _float(text)
    return None if value is None else value / 1000


def _sum(values: Iterable[str]) -> int | None:
    numbers = [int(value) for value in values if value.isdigit()]
    return sum(numbers) if numbers else None
