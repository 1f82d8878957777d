"""A roofline estimate: each kernel takes the longer of computing and moving bytes, plus its launch.

    seconds = fixed + Σ kernels  max(ops / (peak · utilization), bytes / (bandwidth · utilization))
                                 + overhead

(Williams, Waterman, Patterson 2009.) It is an estimate and says so everywhere; without a
calibration it is easily off by a factor of two. It cannot know the tail, so it gives a median only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compress.budgets.costs import Costs
from compress.budgets.devices import DeviceProfile
from compress.budgets.kernels import Kernel
from compress.budgets.variants import ENGINES

UNCALIBRATED = "a roofline without calibration is easily off by a factor of two"


@dataclass(frozen=True)
class KernelTime:
    """Seconds of a kernel; ``bound`` is what limits it: compute, memory or overhead."""

    kernel: Kernel
    compute_s: float
    memory_s: float
    overhead_s: float

    @property
    def seconds(self) -> float:
        return max(self.compute_s, self.memory_s) + self.overhead_s

    @property
    def bound(self) -> str:
        shares = {"compute": self.compute_s, "memory": self.memory_s, "overhead": self.overhead_s}
        return max(shares, key=shares.__getitem__)


@dataclass(frozen=True)
class Estimate:
    """Time, energy and memory of a model on a device. Never a measurement."""

    device: DeviceProfile
    precision: str
    costs: Costs
    rows: tuple[KernelTime, ...]
    factor: float = 1.0
    calibration: Mapping[str, Any] | None = None  # where the factor comes from

    @property
    def p50_ms(self) -> float:
        """Median latency of one image."""
        return 1e3 * self.factor * (self.device.fixed_s + sum(row.seconds for row in self.rows))

    @property
    def energy_mj(self) -> float | None:
        """Energy of one image at the mode's whole power (an upper bound); None if not stated."""
        return None if self.device.watts is None else self.device.watts * self.p50_ms

    @property
    def weight_bytes(self) -> float:
        """Parameters in the estimate's precision."""
        return sum(k.weight_bytes * _narrowing(k, self.precision) for k in self.costs.kernels)

    @property
    def memory_bytes(self) -> float:
        """Engine, weights and the most activations at one time."""
        return self.device.engine_bytes + self.weight_bytes + self.costs.peak_bytes

    @property
    def bound(self) -> dict[str, float]:
        """Share of the time that each limit takes: compute, memory, overhead, fixed."""
        out = {"compute": 0.0, "memory": 0.0, "overhead": 0.0, "fixed": self.device.fixed_s}
        for row in self.rows:
            out["overhead"] += row.overhead_s
            longer = "compute" if row.compute_s >= row.memory_s else "memory"
            out[longer] += max(row.compute_s, row.memory_s)
        total = sum(out.values()) or 1.0
        return {name: value / total for name, value in out.items()}

    def value(self, metric: str) -> float | None:
        """A metric of the budget's grammar in its canonical unit; None where it is not known."""
        known = {"p50": self.p50_ms, "energy": self.energy_mj, "memory": self.memory_bytes}
        return known.get(metric)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; ``basis`` is always "estimate"."""
        return {
            "basis": "estimate",
            "device": self.device.name,
            "mode": self.device.mode,
            "precision": self.precision,
            "p50_ms": self.p50_ms,
            "energy_mj": self.energy_mj,
            "memory_bytes": self.memory_bytes,
            "macs": self.costs.macs,
            "int8_share": self.costs.int8_share,
            "weight_bytes": self.weight_bytes,
            "bound": self.bound,
            "kernels": len(self.rows),
            "unpriced": list(self.costs.unpriced),
            "factor": self.factor,
            "calibration": None if self.calibration is None else dict(self.calibration),
        }


def estimate(
    costs: Costs,
    device: DeviceProfile,
    precision: str,
    *,
    factor: float = 1.0,
    calibration: Mapping[str, Any] | None = None,
) -> Estimate:
    """The roofline of a graph on a device.

    Float kernels compute in ``precision``, "fp32" or "fp16"; kernels between Q/DQ pairs are int8 by
    themselves. "int8" leaves the rest of such a file in the narrowest float precision that the
    device accelerates.
    """
    # small networks stay in the cache from image to image
    is_cached = costs.weight_bytes <= device.cache_bytes
    rows = tuple(_kernel_time(kernel, device, precision, is_cached) for kernel in costs.kernels)
    return Estimate(device, precision, costs, rows, factor, calibration)


def _kernel_time(
    kernel: Kernel, device: DeviceProfile, precision: str, is_cached: bool
) -> KernelTime:
    computed = kernel.precision
    if computed != "int8" and precision == "int8":
        computed = device.computes(ENGINES[device.engine].float_in_int8)
    elif computed == "fp32":
        computed = device.computes(precision)
    narrowing = _narrowing(kernel, computed)
    activations = (kernel.read_bytes + kernel.write_bytes) * narrowing
    is_near = activations <= device.cache_bytes
    moving = activations / (device.cache_bandwidth if is_near else device.bandwidth)
    weights = kernel.weight_bytes * narrowing
    moving += weights / (device.cache_bandwidth if is_cached else device.bandwidth)
    compute = kernel.ops / device.rate(computed, kernel.kind)
    return KernelTime(kernel, compute, moving / device.utilization["memory"], device.overhead_s)


def _narrowing(kernel: Kernel, precision: str) -> float:
    """Bytes of a kernel's tensors against the file's: half where an fp32 file runs as fp16."""
    return 0.5 if precision == "fp16" and kernel.precision == "fp32" else 1.0
