"""A Jetson: power mode, clocks, GPU, and its sensors, INA3221 and ``tegrastats``; all optional.

File names are those of Jetson Linux 32 to 36 (JetPack 4.6 to 6).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runtime.host.sysfs import ROOT, matches, number, product, text

INTERVAL_MS = 100  # of tegrastats; its default is a second
FIRST_LINE_S = 2.0

GPU_NODES = ("ga10b", "gv11b", "gp10b", "gpu")  # device-tree names: Orin, Xavier, TX2, others
HZ = 1e-6  # to MHz
MILLI = 1e-3
INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")  # feed the whole module
PART_OF_ANOTHER = frozenset({"VDDQ_VDD2_1V8AO"})  # Orin: fed from VIN_SYS_5V0
NOT_CONNECTED = frozenset({"NC", "", "sum of shunt voltages"})  # labels that are no rail


@dataclass(frozen=True)
class IntegratedGpu:
    """The GPU on the same chip."""

    name: str
    clock_mhz: float | None
    clock_min_mhz: float | None
    clock_max_mhz: float | None


def release(root: Path = ROOT) -> str | None:
    """Jetson Linux, e.g. "R36.4.3"."""
    stated = text(root / "etc/nv_tegra_release") or ""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", stated)
    return f"R{match[1]}.{match[2]}" if match else None


def power_mode(root: Path = ROOT) -> str | None:
    """nvpmodel's mode with its name where known, e.g. "MAXN_SUPER (pmode:0002)"."""
    status = text(root / "var/lib/nvpmodel/status")
    match = re.search(r"pmode:(\d+)", status or "")
    if not match:
        return status
    pattern = rf"<\s*POWER_MODEL\s+ID=0*{int(match[1])}\s+NAME=(\S+?)\s*>"
    name = re.search(pattern, text(root / "etc/nvpmodel.conf") or "")
    return f"{name[1]} ({match[0]})" if name else status


def integrated_gpu(root: Path = ROOT) -> IntegratedGpu | None:
    """The GPU and its clock; None on a machine without one."""
    for folder in matches(root, "sys/class/devfreq/*"):
        node = (text(folder / "device/of_node/name") or "").rstrip("\x00")
        name = node or folder.name.rpartition(".")[2]
        if name in GPU_NODES:
            now, low, high = (number(folder / f"{kind}_freq", HZ) for kind in ("cur", "min", "max"))
            return IntegratedGpu(name, now, low, high)
    return None


def clocks_locked(root: Path = ROOT) -> bool | None:
    """Whether every clock's lower limit is its upper one (``jetson_clocks``); None if unknown."""
    limits = [
        (number(policy / "scaling_min_freq"), number(policy / "scaling_max_freq"))
        for policy in matches(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq")
    ]
    gpu = integrated_gpu(root)
    limits += [(gpu.clock_min_mhz, gpu.clock_max_mhz)] if gpu else []
    known = [(low, high) for low, high in limits if low is not None and high is not None]
    return all(low == high for low, high in known) if known else None


def rails(root: Path = ROOT) -> dict[str, Callable[[], float | None]]:
    """Every connected rail of a Jetson: name -> watts now."""
    out: dict[str, Callable[[], float | None]] = {}
    folders = ("bus/i2c/drivers/ina3221*/*/hwmon", "bus/i2c/devices/*/hwmon", "class/hwmon")
    for folder in folders:
        for label in matches(root, f"sys/{folder}/hwmon*/in*_label"):
            name = text(label) or ""
            channel = label.name.removeprefix("in").removesuffix("_label")
            volts = label.with_name(f"in{channel}_input")
            amperes = label.with_name(f"curr{channel}_input")
            chip = f"{text(label.with_name('name'))} {label.parent}"
            if "ina3221" in chip and amperes.exists() and name not in NOT_CONNECTED:
                out.setdefault(name, product(volts, amperes, MILLI))
    for label in matches(root, "sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*"):
        power = label.with_name(f"in_power{label.name.removeprefix('rail_name_')}_input")
        name = text(label) or ""
        if name not in NOT_CONNECTED:
            out.setdefault(name, partial(number, power, MILLI))
    return out


def module_rails(names: Iterable[str]) -> list[str]:
    """The rail that feeds the module, else all rails, whose sum is its power."""
    present = set(names)
    inputs = [name for name in INPUT_RAILS if name in present]
    return inputs[:1] or sorted(present - PART_OF_ANOTHER)


def tegrastats(line: str) -> dict[str, float]:
    """Rail -> watts now, of a line with ``VDD_IN 4654mW/4640mW`` (mean last), ``VIN 2012/2012``."""
    line = line[:4096]  # a line is below 1000 characters; the patterns need up to n² steps
    rail = r"\b([A-Z][A-Z0-9_]{2,}) (\d+(?:\.\d+)?)(mW|W)?/\d+(?:\.\d+)?(?:mW|W)?(?=\s|$)"
    rows = re.findall(rail, line)
    return {name: float(value) * (1.0 if unit == "W" else 1e-3) for name, value, unit in rows}


class TegrastatsStream:
    """A running ``tegrastats``, for rails that are not readable as files; OSError if none runs."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen(
            [program, "--interval", str(INTERVAL_MS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._newest: dict[str, float] | None = None
        self._begun = threading.Event()
        lines = self._process.stdout
        self._thread = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._thread.start()

    def newest(self) -> dict[str, float] | None:
        """The last line's rails; None if none came in ``FIRST_LINE_S``, or the program ended."""
        self._begun.wait(FIRST_LINE_S)
        return self._newest

    def close(self) -> None:
        """Ends the program."""
        self._process.terminate()
        self._process.wait()
        self._thread.join()

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._newest = tegrastats(line)
            self._begun.set()
        self._newest = None
        self._begun.set()


def stream() -> TegrastatsStream | None:
    """``tegrastats``; None if it is not installed or does not start."""
    program = shutil.which("tegrastats")
    try:
        return TegrastatsStream(program) if program else None
    except OSError:
        return None
