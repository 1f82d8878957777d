"""Power sensors on recorded trees, NVML with a stand-in, and energy from both kinds of sensor."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from recorded_machines import (
    AGX_ORIN,
    JETSON_NANO,
    LAPTOP,
    ORIN_NANO,
    ORIN_NANO_LINE,
    SERVER,
    plant,
)

from runtime.host import jetson, nvml, sensors
from runtime.host.jetson import rails
from runtime.host.sensors import BOTH, counted_j, energy_j, obstacles, sensor


@pytest.fixture(autouse=True)
def without_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests below say themselves whether there is a card."""
    monkeypatch.setattr(nvml, "first_gpu", lambda: None)


def test_the_input_rail_of_an_orin_nano_is_the_whole_module(tmp_path: Path) -> None:
    found = sensor("gpu", plant(tmp_path, ORIN_NANO))
    assert found is not None and found.source == "INA3221 VDD_IN" and found.covers == BOTH
    assert found.watts() == pytest.approx(4.936 * 0.944)
    assert set(rails(tmp_path)) == {"VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC"}, "not the shunt sum"


def test_without_an_input_rail_the_others_are_added_once(tmp_path: Path) -> None:
    """VDDQ_VDD2_1V8AO is fed from VIN_SYS_5V0, and NC is a channel that is not connected."""
    found = sensor("cpu", plant(tmp_path, AGX_ORIN))
    assert found is not None and found.source == "INA3221 VDD_CPU_CV + VDD_GPU_SOC + VIN_SYS_5V0"
    assert found.watts() == pytest.approx(5 * (1.0 + 0.4 + 0.6))


def test_the_driver_of_jetpack_4(tmp_path: Path) -> None:
    found = sensor("cpu", plant(tmp_path, JETSON_NANO))
    assert (
        found is not None
        and found.source == "INA3221 POM_5V_IN"
        and found.watts() == pytest.approx(2.012)
    )


def test_another_chip_behind_hwmon_is_no_rail(tmp_path: Path) -> None:
    tree = {
        "name": "nct6775\n",
        "in1_label": "VDD_IN\n",
        "in1_input": "900\n",
        "curr1_input": "100\n",
    }
    files = {f"sys/class/hwmon/hwmon0/{name}": text for name, text in tree.items()}
    assert rails(plant(tmp_path, files)) == {}


def test_rapl_counts_packages_and_their_dram_alone(tmp_path: Path) -> None:
    found = sensor("cpu", plant(tmp_path / "laptop", LAPTOP))
    assert found is not None and found.source == "RAPL package-0" and found.joules is not None
    assert found.joules() == pytest.approx(5.0), "neither core, which is inside, nor psys"
    assert found.wraps_at_j == pytest.approx(262143.32885)
    both = sensor("cpu", plant(tmp_path / "server", SERVER))
    assert both is not None and both.joules is not None and both.joules() == pytest.approx(3.0)
    assert both.wraps_at_j is None, "which of four counters wrapped cannot be known"


def test_a_counter_that_only_root_may_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, {name: text for name, text in LAPTOP.items() if "powercap" in name})
    assert obstacles(tmp_path) == []
    monkeypatch.setattr(os, "access", lambda file, mode: False)
    assert "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj" in obstacles(tmp_path)[0]


def test_rapl_that_cannot_be_read_is_no_sensor(tmp_path: Path) -> None:
    plant(tmp_path, LAPTOP)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    assert sensors.rapl(tmp_path) is None


def test_a_battery_speaks_only_while_it_is_discharged(tmp_path: Path) -> None:
    plant(tmp_path, {name: text for name, text in LAPTOP.items() if "power_supply" in name})
    found = sensor("gpu", tmp_path)
    assert (
        found is not None and found.source == "battery BAT0" and found.watts() == pytest.approx(8.5)
    )
    battery = tmp_path / "sys/class/power_supply/BAT0"
    (battery / "power_now").unlink()
    (battery / "voltage_now").write_text("11400000\n")
    (battery / "current_now").write_text("-500000\n")
    by_current = sensor("cpu", tmp_path)
    assert by_current is not None
    # microvolts times microamperes: 11.4 V x 0.5 A
    assert by_current.watts() == pytest.approx(5.7)
    (battery / "status").write_text("Charging\n")
    assert sensor("cpu", tmp_path) is None


def test_an_empty_machine_has_no_sensor(tmp_path: Path) -> None:
    assert sensor("cpu", tmp_path) is None and rails(tmp_path) == {} and obstacles(tmp_path) == []


@pytest.mark.parametrize("text", ["", "garbage", "\x00\xff", "1e999999", "-"])
@pytest.mark.parametrize("tree", [ORIN_NANO, JETSON_NANO, LAPTOP])
def test_damaged_files_give_no_figure_and_no_error(
    tmp_path: Path, tree: dict[str, str], text: str
) -> None:
    damaged = {
        name: text if name.endswith(("_input", "_uj", "_now")) else value
        for name, value in tree.items()
    }
    assert sensor("cpu", plant(tmp_path, damaged)) is None


def test_rails_come_from_tegrastats_where_no_file_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real process that prints recorded lines; its end is noticed."""
    program = tmp_path / "tegrastats"
    quoted = f"echo '{ORIN_NANO_LINE}'"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --interval ] || exit 1\n{quoted}\n{quoted}\nexec sleep 60\n'
    )
    program.chmod(0o755)
    lines = jetson.TegrastatsStream(str(program))
    monkeypatch.setattr(sensors, "_tegrastats", lambda: lines)
    found = sensors.tegrastats()
    assert (
        found is not None
        and found.source == "tegrastats VDD_IN"
        and found.watts() == pytest.approx(4.541)
    )
    lines.close()
    assert found.watts() is None
    assert sensors.tegrastats(tmp_path) is None, "of another tree it knows nothing"


def test_a_tegrastats_that_fails_is_no_sensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tegrastats"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    lines = jetson.stream()
    assert lines is not None
    monkeypatch.setattr(sensors, "_tegrastats", lambda: lines)
    assert sensors.tegrastats() is None
    lines.close()
    program.write_text("no program")
    assert jetson.stream() is None
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert jetson.stream() is None


def test_watts_over_time_are_joules() -> None:
    assert energy_j([(0.0, 2.0), (1.0, 4.0), (3.0, 4.0)]) == pytest.approx(3.0 + 8.0)
    assert energy_j([(0.0, 2.0)]) is None and energy_j([]) is None


def test_a_counter_that_began_again() -> None:
    assert counted_j(5.0, 8.0, None) == 3.0
    assert counted_j(99.0, 1.0, 100.0) == pytest.approx(2.0)
    assert counted_j(99.0, 1.0, None) is None and counted_j(None, 1.0, 100.0) is None
