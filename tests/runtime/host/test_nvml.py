"""NVML with a stand-in for its library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from runtime.host import nvml, telemetry
from runtime.host.sensors import sensor


def stand_in(**changes: object) -> SimpleNamespace:
    """A library with the functions of pynvml that are asked, for one card."""

    def unsupported(handle: object) -> int:
        raise RuntimeError("Not Supported")

    functions = {
        "NVML_CLOCK_SM": 1,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: f"handle {index}",
        "nvmlDeviceGetName": lambda handle: b"NVIDIA Test Card",
        "nvmlSystemGetDriverVersion": lambda: "580.65",
        "nvmlDeviceGetPowerUsage": lambda handle: 71_500,
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 123_000,
        "nvmlDeviceGetClockInfo": lambda handle, kind: 1980 if kind == 1 else 0,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: 0x1 | 0x4 | 0x20,
    }
    return SimpleNamespace(
        **{**functions, **{name: value or unsupported for name, value in changes.items()}}
    )


@pytest.fixture
def first_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The real finder, which asks the stand-in."""
    monkeypatch.undo()
    nvml.first_gpu.cache_clear()
    yield nvml.first_gpu
    nvml.first_gpu.cache_clear()


def test_a_card_tells_its_power_clock_and_slowdowns(
    monkeypatch: pytest.MonkeyPatch, first_gpu: object, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", stand_in())
    card = nvml.first_gpu()
    assert card is not None and (card.name, card.driver) == ("NVIDIA Test Card", "580.65")
    assert (card.watts(), card.joules(), card.clock_mhz()) == (71.5, 123.0, 1980.0)
    assert card.slowed_by() == ("thermal slowdown",), (
        "idle and the power cap are a card's normal states"
    )
    found = sensor("gpu", tmp_path)
    assert (
        found is not None and found.source == "NVML NVIDIA Test Card" and found.joules is not None
    )
    assert sensor("cpu", tmp_path) is None, "the card's power says nothing about the processor"
    assert (
        telemetry.host().gpu == "NVIDIA Test Card" and telemetry.reading().gpu_clock_mhz == 1980.0
    )
    assert "thermal slowdown" in telemetry.reading().throttled_now


def test_an_old_card_has_watts_but_no_counter(
    monkeypatch: pytest.MonkeyPatch, first_gpu: object, tmp_path: Path
) -> None:
    library = stand_in(
        nvmlDeviceGetTotalEnergyConsumption=None, nvmlDeviceGetCurrentClocksEventReasons=None
    )
    monkeypatch.setitem(__import__("sys").modules, "pynvml", library)
    found = sensor("gpu", tmp_path)
    assert found is not None and found.joules is None and found.watts() == 71.5


def test_a_library_without_a_driver_is_no_card(
    monkeypatch: pytest.MonkeyPatch, first_gpu: object
) -> None:
    def absent() -> None:
        raise RuntimeError("NVML Shared Library Not Found")

    monkeypatch.setitem(__import__("sys").modules, "pynvml", SimpleNamespace(nvmlInit=absent))
    assert nvml.first_gpu() is None


def test_the_library_has_the_functions_that_are_asked() -> None:
    """Against the published package, where it is installed: names and bits, no card."""
    library = pytest.importorskip("pynvml", reason="pip install nvidia-ml-py")
    asked = [name for name in vars(stand_in()) if name.startswith("nvml")]
    assert all(callable(getattr(library, name)) for name in asked)
    bits = {
        value for name, value in vars(library).items() if name.startswith("nvmlClocksEventReason")
    }
    assert set(nvml.REASONS) <= bits
