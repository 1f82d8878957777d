"""NVIDIA's management library through ``pynvml``, if installed (pip install nvidia-ml-py).

Typed against the published NVML API; tested with a stand-in for the library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# nvmlClocksEventReasons, bits that slow a kernel down (NVML API, "Clocks Event Reasons"). Idle and
# set clocks do not; the software power cap (0x4) is a large card's steady state.
REASONS = {0x8: "hardware slowdown", 0x20: "thermal slowdown"}
REASONS |= {0x40: "hardware thermal slowdown", 0x80: "power brake"}


@dataclass(frozen=True)
class NvmlGpu:
    """The first GPU of this machine."""

    name: str
    driver: str
    _library: Any
    _handle: Any

    def watts(self) -> float | None:
        """Power of the whole card now."""
        return _asked(lambda: self._library.nvmlDeviceGetPowerUsage(self._handle) / 1e3)

    def joules(self) -> float | None:
        """Energy since the driver was loaded; None on cards before Volta."""
        return _asked(lambda: self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3)

    def clock_mhz(self) -> float | None:
        """Clock of the multiprocessors."""
        kind = self._library.NVML_CLOCK_SM
        return _asked(lambda: float(self._library.nvmlDeviceGetClockInfo(self._handle, kind)))

    def slowed_by(self) -> tuple[str, ...]:
        """Names of what holds the clock down."""
        # "Throttle" is the older name, up to NVML 12.1.
        names = (f"nvmlDeviceGetCurrentClocks{word}Reasons" for word in ("Event", "Throttle"))
        calls = (getattr(self._library, name, None) for name in names)
        ask = next((call for call in calls if call), None)
        bits = _asked(lambda: ask(self._handle)) if ask else None
        return tuple(name for bit, name in REASONS.items() if int(bits or 0) & bit)


@lru_cache(maxsize=1)
def first_gpu() -> NvmlGpu | None:
    """The first GPU; None without pynvml, a driver or a card."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        name = pynvml.nvmlDeviceGetName(handle)
        driver = pynvml.nvmlSystemGetDriverVersion()
        return NvmlGpu(_string(name), _string(driver), pynvml, handle)
    except Exception:  # NVMLError, or what a half-installed driver raises: no sensor
        return None


def _asked(question: Callable[[], Any]) -> Any:
    """The answer; None if the card does not support the question (NVML_ERROR_NOT_SUPPORTED)."""
    try:
        return question()
    except Exception:  # pynvml creates its errors at run time; they share only this base
        return None


def _string(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
