"""What a Jetson and a Raspberry Pi tell, from recorded trees and recorded lines."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded_machines import (
    AGX_ORIN,
    JETSON_NANO,
    LAPTOP,
    NANO_LINE,
    ORIN_NANO,
    ORIN_NANO_LINE,
    ORIN_NX_LINE,
    RASPBERRY_PI,
    SERVER,
    plant,
)

from runtime.host.jetson import clocks_locked, integrated_gpu, power_mode, release, tegrastats
from runtime.host.sensors import sensor
from runtime.host.telemetry import host, reading


def test_facts_of_an_orin_nano(tmp_path: Path) -> None:
    found = host(plant(tmp_path, ORIN_NANO))
    assert found.power_mode == "MAXN_SUPER (pmode:0002)" and found.jetson_linux == "R36.4.3"
    assert found.device == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert (found.gpu, found.gpu_clock_mhz, found.gpu_clock_max_mhz) == ("gpu", 612.0, 1020.0)
    assert reading(tmp_path).gpu_clock_mhz == 612.0 and found.temperature_c == pytest.approx(47.875)


def test_clocks_are_locked_only_if_every_one_is(tmp_path: Path) -> None:
    plant(tmp_path, ORIN_NANO)
    assert clocks_locked(tmp_path) is False, "the processor's is, the GPU's is not"
    (tmp_path / "sys/class/devfreq/17000000.gpu/min_freq").write_text("1020000000\n")
    assert clocks_locked(tmp_path) is True and host(tmp_path).clocks_locked is True


def test_a_device_that_is_no_gpu_is_left_out(tmp_path: Path) -> None:
    tree = {"device/of_node/name": "nvdec\x00", "cur_freq": "500000000\n"}
    plant(
        tmp_path, {f"sys/class/devfreq/15480000.nvdec/{name}": text for name, text in tree.items()}
    )
    assert integrated_gpu(tmp_path) is None


def test_a_mode_without_its_table_keeps_its_number(tmp_path: Path) -> None:
    assert power_mode(plant(tmp_path, {"var/lib/nvpmodel/status": "pmode:0007"})) == "pmode:0007"
    assert (
        power_mode(tmp_path / "empty") is None
        and release(tmp_path) is None
        and clocks_locked(tmp_path) is None
    )


def test_tegrastats_of_an_orin_nano() -> None:
    expected = {"VDD_IN": 4.541, "VDD_CPU_GPU_CV": 0.521, "VDD_SOC": 1.446}
    assert tegrastats(ORIN_NANO_LINE) == expected, "now, not the average"


def test_tegrastats_of_other_releases() -> None:
    assert tegrastats(NANO_LINE) == {"POM_5V_IN": 4.532, "POM_5V_GPU": 1.2}
    assert tegrastats(ORIN_NX_LINE) == {"VDD_IN": 4.319}, "CV0@-256C is no rail"


@pytest.mark.parametrize(
    "line", ["", "garbage", "VDD_IN", "RAM x/yMB", "VDD_IN 1mW", "@" * 100_000, "A " * 50_000]
)
def test_a_line_of_something_else_is_empty(line: str) -> None:
    assert tegrastats(line) == {}


MACHINES = (ORIN_NANO, AGX_ORIN, JETSON_NANO, LAPTOP, SERVER, RASPBERRY_PI)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_a_kernel_file_holds_nothing_raises(tmp_path: Path, data: st.DataObject) -> None:
    """Any bytes, or a folder, in the place of any file: the figure is missing or finite, the rest
    is still told.
    """
    tree = data.draw(st.sampled_from(MACHINES))
    name = data.draw(st.sampled_from(sorted(tree)))
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        root = plant(Path(folder), tree)
        junk = data.draw(st.binary(max_size=40) | st.none())
        (root / name).unlink()
        if junk is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(junk)
        json.dumps(host(root).to_json(), allow_nan=False)
        reading(root)
        clocks_locked(root)
        found = sensor("cpu", root)
        watts = found.watts() if found else None
        assert watts is None or math.isfinite(watts)


@given(st.text(max_size=300))
def test_whatever_tegrastats_prints_is_read(line: str) -> None:
    assert all(value >= 0 for value in tegrastats(line).values())
