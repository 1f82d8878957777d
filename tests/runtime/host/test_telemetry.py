"""Host facts from recorded trees; an empty tree gives None, never an error."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from recorded_machines import RASPBERRY_PI, plant

from runtime.bench.latency import Samples, verdict
from runtime.host.telemetry import (
    Reading,
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


def test_facts_of_an_x86_server(tmp_path: Path) -> None:
    found = host(plant(tmp_path, X86))
    assert (found.cpu, found.cores_logical, found.cores_physical) == ("Test CPU", 4, 2)
    assert found.isa == ("amx-int8", "avx2", "avx512-vnni")
    assert (found.governor, found.clock_mhz, found.clock_max_mhz) == ("performance", 3100, 3500)
    assert (found.temperature_c, found.memory_bytes) == (61.0, 8_000_000 * 1024)
    assert found.to_json()["isa"] == ["amx-int8", "avx2", "avx512-vnni"]
    assert usable_cores(tmp_path) <= 2 and peak_rss_bytes(tmp_path) == 500 * 1024


def test_jiffies_and_throttling_are_read(tmp_path: Path) -> None:
    found = reading(plant(tmp_path, X86))
    assert (found.total_jiffies, found.busy_jiffies, found.steal_jiffies) == (985, 165, 5)
    assert (found.own_jiffies, found.throttle_events) == (81, 5)


def test_facts_of_a_jetson(tmp_path: Path) -> None:
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


def test_the_facts_of_this_machine_are_read() -> None:
    host()
    reading()


def test_a_raspberry_pi_tells_what_holds_it_back(tmp_path: Path) -> None:
    found = reading(plant(tmp_path, RASPBERRY_PI))
    assert found.throttled_now == ("under-voltage", "throttled") == found.throttled_since_boot
    assert found.temperature_c == 81.5 and host(tmp_path).cpu == "Raspberry Pi 5 Model B Rev 1.0"
    (tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text("garbage")
    assert reading(tmp_path).throttled_now == ()


def test_what_the_firmware_held_back_during_a_series_is_throttled() -> None:
    calm = np.full((50, 4), 5_000_000, np.int64)
    before = Reading(throttled_since_boot=("under-voltage",))
    same = Samples("x", calm, before=before, after=before)
    assert verdict(same).stamp == "VALID", "what happened before the series is not its fault"
    later = Reading(throttled_since_boot=("under-voltage", "soft temperature limit"))
    assert (
        "soft temperature limit" in verdict(Samples("x", calm, before=before, after=later)).reason
    )
    held = verdict(Samples("x", calm, after=Reading(throttled_now=("frequency capped",))))
    assert held.stamp == "THROTTLED" and "frequency capped" in held.reason


def test_a_falling_gpu_clock_is_throttled() -> None:
    slower = (np.linspace(1, 1.3, 300)[:, None] * np.full((300, 4), 5e6)).astype(np.int64)
    hot = Samples("x", slower, before=Reading(gpu_clock_mhz=1020), after=Reading(gpu_clock_mhz=612))
    assert verdict(hot).reason.startswith("GPU clock fell from 1020 to 612 MHz")


@pytest.mark.parametrize(
    ("tree", "quota"),
    [
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
    ],
)
def test_a_container_says_how_much_of_the_processors_it_may_use(
    tmp_path: Path, tree: dict[str, str], quota: float | None
) -> None:
    assert host(plant(tmp_path, tree)).cpu_quota == quota


@pytest.mark.parametrize("file", ["cpu.stat", "cpu/cpu.stat"])
def test_a_container_that_used_up_its_quota_is_throttled(tmp_path: Path, file: str) -> None:
    stat = "usage_usec 99\nnr_periods 40\nnr_throttled {}\nthrottled_usec 7\n"
    before = reading(plant(tmp_path, {f"sys/fs/cgroup/{file}": stat.format(3)}))
    after = reading(plant(tmp_path, {f"sys/fs/cgroup/{file}": stat.format(8)}))
    assert (before.quota_stops, after.quota_stops) == (3, 8)
    calm = np.full((50, 4), 5_000_000, np.int64)
    before, after = Reading(quota_stops=before.quota_stops), Reading(quota_stops=after.quota_stops)
    stopped = verdict(Samples("x", calm, before=before, after=after))
    assert stopped.stamp == "THROTTLED" and "in 5 periods" in stopped.reason
    assert verdict(Samples("x", calm, before=after, after=after)).stamp == "VALID"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "1600000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu,cpuacct/box/cpu.cfs_quota_us": "3", "cpu,cpuacct/box/cpu.cfs_period_us": "1"}, 3),
        ({"app.slice/cpu.max": "400000 100000", "app.slice/x.service/cpu.max": "max 100000"}, 4),
        ({"app.slice/x.service/cpu.max": "junk"}, 8),
    ],
)
def test_threads_by_default_keep_the_containers_quota(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = {"sys/fs/cgroup/" + name: text for name, text in files.items()}
    groups["proc/self/cgroup"] = "4:cpu,cpuacct:/box\n0::/app.slice/x.service"
    for name, text in groups.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert usable_cores(tmp_path) == cores
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5}, raising=False)
    assert usable_cores(tmp_path) == 1
