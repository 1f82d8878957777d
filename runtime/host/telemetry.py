"""Facts about the host from /proc and /sys; None where the kernel gives none.

All functions take the root of the tree, so that they are tested on recorded machines.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runtime.host import jetson, nvml
from runtime.host.sysfs import ROOT, as_number, matches, number, text, total

CPUS = "sys/devices/system/cpu"
KHZ = 1e-3  # to MHz
CELSIUS = {"lowest": -273.15, "highest": 1000.0}  # bounds for runtime.bench.file

# Bits of the Raspberry Pi firmware's get_throttled for "now"; 16 bits higher: "since boot".
PI_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
PI_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}

# Flag in /proc/cpuinfo -> what it means for inference.
_FLAGS = "avx2 avx_vnni avx512_vnni avx512_bf16 amx_int8 amx_bf16 neon i8mm bf16 sve"
ISA = {flag: flag.replace("_", "-") for flag in _FLAGS.split()}
ISA |= {"avx512f": "avx512", "amx_tile": "amx"}
ISA |= {"asimd": "neon", "asimdhp": "fp16", "asimddp": "dotprod"}


@dataclass(frozen=True)
class Host:
    """Host facts reported by the device: what a latency figure has to be read with."""

    device: str | None = None  # board name, e.g. of a Jetson or Raspberry Pi
    cpu: str | None = None
    arch: str = ""
    cores_logical: int | None = None
    cores_physical: int | None = None
    cores_usable: int = field(default=0, metadata={"ge": 0})  # by this process
    isa: tuple[str, ...] = ()
    governor: str | None = None
    power_mode: str | None = None  # NVIDIA nvpmodel, with its name where known
    clock_mhz: float | None = None
    clock_max_mhz: float | None = None
    temperature_c: float | None = field(default=None, metadata=CELSIUS)
    memory_bytes: int | None = None
    memory_available_bytes: int | None = None
    kernel: str = ""
    python: str = ""
    cpu_quota: float | None = None  # processors that the container may use in the mean
    jetson_linux: str | None = None
    clocks_locked: bool | None = None  # lower limits equal the upper ones, as after jetson_clocks
    gpu: str | None = None
    gpu_driver: str | None = None
    gpu_clock_mhz: float | None = None
    gpu_clock_max_mhz: float | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {**asdict(self), "isa": list(self.isa)}


@dataclass(frozen=True)
class Reading:
    """What makes latency drift, now. Jiffies count since boot (process: since its start)."""

    clock_mhz: float | None = None
    temperature_c: float | None = None
    throttle_events: int | None = None
    total_jiffies: int | None = None
    busy_jiffies: int | None = None
    steal_jiffies: int | None = None
    own_jiffies: int | None = None
    gpu_clock_mhz: float | None = None
    throttled_now: tuple[str, ...] = ()  # what holds the clock down at this moment
    throttled_since_boot: tuple[str, ...] = ()
    quota_stops: int | None = None  # periods in which the container had used up its processor time


def host(root: Path = ROOT) -> Host:
    """Facts about the machine."""
    info = _cpuinfo(root)
    memory = _sizes(root / "proc/meminfo")
    flags = set(info.get("flags", info.get("Features", "")).split())
    board = text(root / "proc/device-tree/model")
    inside = jetson.integrated_gpu(root)
    card = _card(root)
    return Host(
        device=board.rstrip("\x00") if board else text(root / "sys/class/dmi/id/product_name"),
        cpu=info.get("model name") or info.get("Model") or info.get("Hardware"),
        arch=platform.machine(),
        cores_logical=total([info.get("processors")]),
        cores_physical=_physical_cores(root),
        cores_usable=usable_cores(root),
        isa=tuple(sorted({meaning for flag, meaning in ISA.items() if flag in flags})),
        governor=text(root / CPUS / "cpu0/cpufreq/scaling_governor"),
        power_mode=jetson.power_mode(root),
        clock_mhz=clock_mhz(root),
        clock_max_mhz=number(root / CPUS / "cpu0/cpufreq/cpuinfo_max_freq", KHZ),
        temperature_c=temperature_c(root),
        memory_bytes=memory.get("MemTotal"),
        memory_available_bytes=memory.get("MemAvailable"),
        kernel=platform.release(),
        python=platform.python_version(),
        cpu_quota=_cpu_quota(root),
        jetson_linux=jetson.release(root),
        clocks_locked=jetson.clocks_locked(root),
        gpu=inside.name if inside else card.name if card else None,
        gpu_driver=card.driver if card else None,
        gpu_clock_mhz=_gpu_clock_mhz(root),
        gpu_clock_max_mhz=inside.clock_max_mhz if inside else None,
    )


def reading(root: Path = ROOT) -> Reading:
    """Clocks, temperature and processor time now."""
    row = (text(root / "proc/stat") or "").split("\n", 1)[0].split()
    times = [int(value) for value in row[1:] if value.isdigit()] if row[:1] == ["cpu"] else []
    elapsed = sum(times[:8]) if len(times) >= 8 else None
    own = (text(root / "proc/self/stat") or "").rpartition(")")[2].split()
    events = matches(root, f"{CPUS}/cpu[0-9]*/thermal_throttle/core_throttle_count")
    flags = 0
    groups = root / "sys/fs/cgroup"
    quota = (text(groups / "cpu.stat") or text(groups / "cpu/cpu.stat") or "").splitlines()
    with suppress(ValueError):
        flags = int(text(root / PI_THROTTLED) or "0", 16)
    card = _card(root)
    now = tuple(name for bit, name in PI_FLAGS.items() if flags >> bit & 1)
    return Reading(
        clock_mhz=clock_mhz(root),
        temperature_c=temperature_c(root),
        throttle_events=total(map(text, events)),
        total_jiffies=elapsed,
        busy_jiffies=None if elapsed is None else elapsed - times[3] - times[4],  # idle, iowait
        steal_jiffies=None if elapsed is None else times[7],
        own_jiffies=total(own[11:15]),  # utime, stime, and those of waited-for children
        gpu_clock_mhz=_gpu_clock_mhz(root),
        throttled_now=now + (card.slowed_by() if card else ()),
        throttled_since_boot=tuple(name for bit, name in PI_FLAGS.items() if flags >> bit + 16 & 1),
        # nr_throttled of cgroup v2, or of v1
        quota_stops=total(row[13:] for row in quota if row.startswith("nr_throttled ")),
    )


def clock_mhz(root: Path = ROOT) -> float | None:
    """The fastest core's clock now."""
    files = matches(root, f"{CPUS}/cpu[0-9]*/cpufreq/scaling_cur_freq")
    fastest = max((mhz for mhz in (number(file, KHZ) for file in files) if mhz), default=None)
    return fastest or as_number(_cpuinfo(root).get("cpu MHz"))


def temperature_c(root: Path = ROOT) -> float | None:
    """The hottest sensor, without implausible (disconnected) ones."""
    patterns = ("sys/class/thermal/thermal_zone*/temp", "sys/class/hwmon/hwmon*/temp*_input")
    values = (number(zone, 1e-3) for pattern in patterns for zone in matches(root, pattern))
    return max((value for value in values if value and -40 < value < 150), default=None)


def usable_cores(root: Path = ROOT) -> int:
    """Physical cores that this process may run on, no more than its container's processor time.

    Logical ones if the kernel gives none. Half a processor is one thread: two would be stopped
    twice as often.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    allowed = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    physical = _physical_cores(root) or allowed
    quota = _cpu_quota(root) or allowed
    return max(1, min(allowed, physical, int(quota)))


def peak_rss_bytes(root: Path = ROOT) -> int | None:
    """Peak memory of this process (VmHWM; unlike getrusage, without the parent's peak)."""
    return _sizes(root / "proc/self/status").get("VmHWM")


def rss_bytes(root: Path = ROOT) -> int | None:
    """Memory of this process now."""
    return _sizes(root / "proc/self/status").get("VmRSS")


def address_bytes(root: Path = ROOT) -> int | None:
    """Addresses that this process uses now, which its limit RLIMIT_AS counts."""
    return _sizes(root / "proc/self/status").get("VmSize")


def available_bytes(root: Path = ROOT) -> int | None:
    """Memory that can be had now without swapping."""
    return _sizes(root / "proc/meminfo").get("MemAvailable")


def _cpuinfo(root: Path) -> dict[str, str]:
    """First value of each key; "processors" counts the processors."""
    seen: dict[str, str] = {}
    count = 0
    for line in (text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        count += key.strip() == "processor"
        seen.setdefault(key.strip(), value.strip())
    return {**seen, "processors": str(count)} if count else seen


def _physical_cores(root: Path) -> int | None:
    lists = matches(root, f"{CPUS}/cpu[0-9]*/topology/thread_siblings_list")
    groups = {siblings for siblings in map(text, lists) if siblings}
    if groups:
        return len(groups)
    packages = set()
    package = "0"
    for line in (text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "physical id":
            package = value
        elif key == "core id":
            packages.add((package, value))
    return len(packages) or None


def _card(root: Path) -> nvml.NvmlGpu | None:
    return nvml.first_gpu() if root == ROOT else None


def _gpu_clock_mhz(root: Path) -> float | None:
    if inside := jetson.integrated_gpu(root):
        return inside.clock_mhz
    card = _card(root)
    return card.clock_mhz() if card else None


def _cpu_quota(root: Path) -> float | None:
    """Processors: the smallest quota over period of this process's cgroups and those above them."""
    quotas = filter(None, map(_quota_of, _cgroups(root)))
    return min(quotas, default=None)


def _cgroups(root: Path) -> Iterator[Path]:
    """Folders of cgroup v2 and of v1's controller "cpu", each from this process's up to the root.

    Inside a container /proc/self/cgroup may name a folder that only the host has.
    """
    top = root / "sys/fs/cgroup"
    tops = [top, top / "cpu", top / "cpu,cpuacct"]
    yield from tops
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        inside = [part for part in path.split("/") if part not in ("", ".", "..")]
        if controllers and "cpu" not in controllers.split(","):
            continue
        for base in tops if controllers else tops[:1]:
            yield from (base.joinpath(*inside[:depth]) for depth in range(1, len(inside) + 1))


def _quota_of(group: Path) -> float | None:
    quota, _, period = (text(group / "cpu.max") or "").partition(" ")
    if not period:
        quota = text(group / "cpu.cfs_quota_us") or ""
        period = text(group / "cpu.cfs_period_us") or ""
    allowed = as_number(quota)
    of = as_number(period)
    return allowed / of if allowed and of and allowed > 0 and of > 0 else None


def _sizes(file: Path) -> dict[str, int]:
    """Key -> bytes, of lines like ``MemTotal:  123 kB``."""
    rows = [line.split() for line in (text(file) or "").splitlines()]
    sizes = [row for row in rows if len(row) == 3 and row[2] == "kB" and row[1].isdigit()]
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in sizes}
