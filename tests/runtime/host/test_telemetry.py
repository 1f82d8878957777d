"""Host facts from recorded trees; an empty tree gives None, never an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.host.telemetry import (
    clock_mhz,
    host,
    peak_rss_bytes,
    reading,
    temperature_c,
    usable_cores,
)

X86 = {
    "proc/cpuinfo": "".join(
        f"processor\t: {i}\nmodel name\t: Test CPU\ncpu MHz\t\t: 2500.0\nphysical id\t: "
        f"0\ncore id\t\t: {i // 2}\n"
        "flags\t\t: fpu avx2 avx512_vnni amx_int8\n\n"
        for i in range(4)
    ),
    "proc/meminfo": "MemTotal:       8000000 kB\nMemAvailable:   4000000 "
    "kB\nHugePages_Total:       0\n",
    "proc/stat": "cpu  100 0 50 800 20 0 10 5 0 0\ncpu0 1 2 3 4\n",
    "proc/self/stat": "42 (py (thon) x) R 1 1 1 0 -1 0 0 0 0 0 70 8 2 1 20 0 1 0 5 0",
    "proc/self/status": "Name:\tpython\nVmPeak:\t  900 kB\nVmHWM:\t   500 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3100000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3500000\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "2\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "3\n",
    "sys/class/thermal/thermal_zone0/temp": "45500\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/hwmon/hwmon0/temp1_input": "61000\n",
}
JETSON = {
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU part\t: 0xd42\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano\x00",
    "var/lib/nvpmodel/status": "pmode:0000",
}


def plant(root: Path, tree: dict[str, str]) -> Path:
    for name, text in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_x86(tmp_path: Path) -> None:
    found = host(plant(tmp_path, X86))
    assert (found.cpu, found.cores_logical, found.cores_physical) == ("Test CPU", 4, 2)
    assert found.isa == ("amx-int8", "avx2", "avx512-vnni")
    assert (found.governor, found.clock_mhz, found.clock_max_mhz) == ("performance", 3100, 3500)
    assert (found.temperature_c, found.memory_bytes) == (61.0, 8_000_000 * 1024)
    assert found.to_json()["isa"] == ["amx-int8", "avx2", "avx512-vnni"]
    assert usable_cores(tmp_path) <= 2 and peak_rss_bytes(tmp_path) == 500 * 1024


def test_reading(tmp_path: Path) -> None:
    found = reading(plant(tmp_path, X86))
    assert (found.total_jiffies, found.busy_jiffies, found.steal_jiffies) == (985, 165, 5)
    assert (found.own_jiffies, found.throttle_events) == (81, 5)


def test_jetson(tmp_path: Path) -> None:
    found = host(plant(tmp_path, JETSON))
    assert found.device == "NVIDIA Jetson Orin Nano" and found.power_mode == "pmode:0000"
    assert found.isa == ("dotprod", "i8mm", "neon") and found.temperature_c is None


def test_clock_from_cpuinfo_where_there_is_no_cpufreq(tmp_path: Path) -> None:
    assert clock_mhz(plant(tmp_path, {"proc/cpuinfo": X86["proc/cpuinfo"]})) == 2500


def test_nothing_is_known_of_an_empty_tree(tmp_path: Path) -> None:
    found = host(tmp_path)
    assert (
        found.cpu is found.temperature_c is found.clock_mhz is found.memory_bytes is None
        and found.isa == ()
    )
    assert reading(tmp_path).total_jiffies is None and peak_rss_bytes(tmp_path) is None
    assert usable_cores(tmp_path) >= 1


@pytest.mark.parametrize("text", ["", "garbage", "cpu x y\n", "\x00\xff"])
def test_damaged_files_are_unknown(tmp_path: Path, text: str) -> None:
    plant(tmp_path, dict.fromkeys(X86, text))
    host(tmp_path)
    reading(tmp_path)
    assert temperature_c(tmp_path) is None


def test_this_machine() -> None:
    host()
    reading()
