"""Findings about this machine, recorded ones, and broken ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from findings import by_name, pretend

from runtime.commands import findings as device
from runtime.commands.findings import MISSING, NOTE, PARTLY, Finding, at_least, int8_words, works
from runtime.host import telemetry


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.fixture
def orin(tmp_path: Path) -> Path:
    """A Jetson Orin Nano with JetPack 6.2, clocks not locked."""
    write(
        tmp_path,
        "etc/nv_tegra_release",
        "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64",
    )
    write(tmp_path, "proc/device-tree/model", "NVIDIA Jetson Orin Nano Developer Kit\0")
    write(
        tmp_path,
        "proc/cpuinfo",
        "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\n\nprocessor\t: 1\n",
    )
    write(tmp_path, "proc/meminfo", "MemTotal: 7802000 kB\nMemAvailable: 5000000 kB\n")
    for cpu in (0, 1):
        base = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        for name, value in (
            ("scaling_cur_freq", 729600),
            ("scaling_min_freq", 729600),
            ("scaling_max_freq", 1728000),
        ):
            write(tmp_path, f"{base}/{name}", str(value))
    return tmp_path


def test_a_jetson_is_told_its_row_and_its_clocks(orin: Path) -> None:
    found = by_name(device.device_findings(orin))
    assert found["board"].detail == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found["file to use"].detail.startswith(
        "JetPack 6.1, 6.2: model.int8.trt.onnx or model.fp16.onnx"
    )
    assert (found["clocks"].state, found["clocks"].remedy) == (PARTLY, "sudo jetson_clocks")
    assert "dotprod" in found["int8"].detail
    assert found["TensorRT"].state == MISSING and "python3-libnvinfer" in (
        found["TensorRT"].remedy or ""
    )


def test_a_raspberry_pi_4_is_told_not_to_hope(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry.platform, "machine", lambda: "aarch64")
    write(
        tmp_path,
        "proc/cpuinfo",
        "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32\nModel\t: Raspberry Pi 4\n",
    )
    found = by_name(device.device_findings(tmp_path))
    assert "no int8 dot products (dotprod)" in found["int8"].detail
    assert found["file to use"].detail.startswith("64-bit ARM: model.int8.onnx")
    assert found["TensorRT"].state == NOTE


@pytest.mark.parametrize(
    ("isa", "word"),
    [
        (("avx2", "avx512-vnni", "amx-int8"), "AMX"),
        (("avx-vnni",), "VNNI"),
        (("dotprod", "i8mm"), "i8mm"),
        (("avx2",), "no int8"),
    ],
)
def test_int8_is_promised_in_words_only(isa: tuple[str, ...], word: str) -> None:
    words = int8_words(isa, "x86_64")
    assert word in words
    assert not any(
        character.isdigit() for character in words.replace("int8", "").replace("i8mm", "")
    )


@pytest.mark.parametrize(
    ("version", "floor", "enough"),
    [
        ("2.15.0", "2.13", True),
        ("2.9.1", "2.13", False),
        ("2.15.0+cpu", "2.15", True),
        ("10.0", "10.0", True),
        ("9.5", "10.0", False),
        ("1.20.0rc1", "1.20", True),
        ("0.9.2", "1", False),
    ],
)
def test_versions_are_compared_by_number(version: str, floor: str, enough: bool) -> None:
    assert at_least(version, floor) is enough


def test_two_onnxruntimes_are_a_gap_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"onnxruntime-gpu": "1.31.0"})
    found = by_name(device.device_findings())["onnxruntime"]
    assert found.state == PARTLY and "pip uninstall -y onnxruntime onnxruntime-gpu" in (
        found.remedy or ""
    )


@pytest.mark.parametrize(
    ("version", "nvidia", "state", "detail"),
    [
        ("8.6.1", True, MISSING, "10.x or 11.x is needed"),
        ("10.3.0", False, MISSING, "no NVIDIA GPU"),
        ("10.3.0", True, MISSING, "the CUDA runtime cannot be loaded"),
    ],
)
def test_a_tensorrt_that_cannot_be_used_says_why(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    version: str,
    nvidia: bool,
    state: str,
    detail: str,
) -> None:
    from runtime.tensorrt import cuda

    pretend(monkeypatch, {"tensorrt": version})
    monkeypatch.setattr(cuda, "candidates", lambda root: ["libcudart-that-is-nowhere.so"])
    if nvidia:
        write(tmp_path, "proc/driver/nvidia/version", "NVRM version: 580")
    found = by_name(device.device_findings(tmp_path))["TensorRT"]
    assert found.state == state and detail in found.detail and found.remedy


def test_a_tensorrt_without_package_data_states_its_own_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(
        tmp_path,
        "lib/tensorrt/__init__.py",
        '__version__ = "10.3.0"\nraise ImportError("libnvinfer is not loaded")\n',
    )
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    found = by_name(device.device_findings(tmp_path))["TensorRT"]
    assert found.detail == "10.3.0, but no NVIDIA GPU to run it"


def test_power_that_only_root_may_read_has_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        device.sensors,
        "obstacles",
        lambda root: ["RAPL counts energy but only for root: sudo chmod a+r X"],
    )
    found = by_name(device.device_findings(tmp_path))["energy"]
    assert (found.state, found.remedy) == (PARTLY, "sudo chmod a+r X")


def test_a_gap_that_is_not_needed_does_not_forbid() -> None:
    assert works([Finding("run", "a", MISSING, "x")], "run")
    assert not works([Finding("run", "a", MISSING, "x", needed=True)], "run")
    assert works([Finding("run", "a", MISSING, "x", needed=True)], "build")
