"""A roofline estimate: each kernel takes the longer of computing and moving bytes, plus what its
launch costs.

    seconds = fixed + Σ kernels  max(ops / (peak · utilization), bytes / (bandwidth · utilization))
                                 + overhead

(Williams, Waterman, Patterson 2009.) It is an estimate and says so everywhere; without a
calibration it is easily off by a factor of two. It knows nothing of the tail, so it gives a median
only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compress.budgets.costs import Costs, Kernel
from compress.budgets.devices import Device

UNCALIBRATED = "a roofline without calibration is easily off by a factor of two"


@dataclass(frozen=True)
class KernelTime:
    """A kernel's share, in seconds; ``bound`` is what limits it: compute, memory or overhead."""

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
        return max(shares, key=lambda name: shares[name])


@dataclass(frozen=True)
class Estimate:
    """What a model would take on a device. Never a measurement.

    Attributes:
        precision: what the model computes in. factor: the calibration's; 1.0 without one.
        calibration: where the factor comes from; None without one.
    """

    device: Device
    precision: str
    costs: Costs
    rows: tuple[KernelTime, ...]
    factor: float = 1.0
    calibration: Mapping[str, Any] | None = None

    @property
    def p50_ms(self) -> float:
        """Median latency of one image."""
        return 1e3 * self.factor * (self.device.fixed_s + sum(row.seconds for row in self.rows))

    @property
    def energy_mj(self) -> float | None:
        """Energy of one image if the module drew its mode's power throughout: an upper bound; None
        where none is stated.
        """
        return None if self.device.watts is None else self.device.watts * self.p50_ms

    @property
    def weight_bytes(self) -> float:
        """Parameters in the estimate's precision."""
        return sum(
            kernel.weight_bytes * _narrowed(kernel, self.precision) for kernel in self.costs.kernels
        )

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
            out["compute" if row.compute_s >= row.memory_s else "memory"] += max(
                row.compute_s, row.memory_s
            )
        total = sum(out.values()) or 1.0
        return {name: value / total for name, value in out.items()}

    def value(self, metric: str) -> float | None:
        """The estimate of a metric of the budget's grammar in its canonical unit; None where a
        roofline knows nothing.
        """
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
    device: Device,
    precision: str,
    *,
    factor: float = 1.0,
    calibration: Mapping[str, Any] | None = None,
) -> Estimate:
    """The roofline of a graph on a device.

    Args:
        precision: what float kernels compute in, "fp32" or "fp16"; kernels between Q/DQ pairs are
            int8 by themselves. "int8" leaves the rest of such a file in the narrowest float
            precision that the device accelerates.
    """
    cached = (
        costs.weight_bytes <= device.cache_bytes
    )  # small networks stay in the cache from image to image
    rows = tuple(_row(kernel, device, precision, cached) for kernel in costs.kernels)
    return Estimate(device, precision, costs, rows, factor, calibration)


def _row(kernel: Kernel, device: Device, precision: str, cached: bool) -> KernelTime:
    wanted = kernel.precision if kernel.precision == "int8" else _float(device, precision, kernel)
    compute = kernel.ops / device.rate(wanted, kernel.kind)
    narrow = _narrowed(kernel, "fp16" if wanted == "fp16" else kernel.precision)
    activations = (kernel.read_bytes + kernel.write_bytes) * narrow
    near = activations <= device.cache_bytes
    memory = activations / (device.cache_bandwidth if near else device.bandwidth)
    memory += (
        kernel.weight_bytes * narrow / (device.cache_bandwidth if cached else device.bandwidth)
    )
    return KernelTime(kernel, compute, memory / device.utilization["memory"], device.overhead_s)


def _float(device: Device, precision: str, kernel: Kernel) -> str:
    """The precision of a float kernel: as asked for, and inside an int8 file the narrowest that is
    accelerated.
    """
    if precision == "int8":
        return "fp16" if "fp16" in device.peak and device.engine != "onnxruntime" else "fp32"
    return "fp16" if kernel.precision == "fp16" else device.computes(precision)


def _narrowed(kernel: Kernel, precision: str) -> float:
    """Bytes of a float kernel's tensors against the file's: half where an fp32 file runs as
    fp16.
    """
    return 0.5 if precision == "fp16" and kernel.precision == "fp32" else 1.0
