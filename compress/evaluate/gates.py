"""Which file ships here: int8 only where it costs next to nothing, pays in time, and really is
int8.

The limits are those of the project's measuring rules; the decision is per machine, because int8
that is faster on one processor is slower on another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from runtime.backends import BACKENDS

MAX_DROP_POINTS = 0.5
MIN_SPEEDUP = BACKENDS["onnxruntime"].min_speedup
RUN_TO_RUN = 0.10
"""Two measurements of the same files on one machine differ by up to this share, so that it must not
decide what ships.
"""


@dataclass(frozen=True)
class Gate:
    """One condition: its limit, what was measured (None: could not be), and whether it passed
    (None: not measured).
    """

    what: str
    unit: str
    limit: float
    value: float | None
    passed: bool | None

    def plain(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


@dataclass(frozen=True)
class Ship:
    """The verdict: the bundle's default model here, and the sentence that says why."""

    file: str
    precision: str
    reason: str

    def plain(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


def decide(
    metrics: Mapping[str, Mapping[str, Any]],
    speedup: Mapping[str, Any] | None,
    kernels: Mapping[str, Any],
    wanted: str = "auto",
) -> tuple[list[Gate], Ship]:
    """The gates and the verdict.

    Args:
        metrics: form -> metrics with "n" and "correct"; empty without test images.
        speedup: {"p50", "ci95"}: fp32 over int8, compute only, one thread count. The gate fails
            only where the whole interval lies ``RUN_TO_RUN`` below the limit, so that noise does
            not flip the verdict of two identical builds.
        kernels: {"ran": kernel -> count, "is_quantized"} of the int8 file.
        wanted: "fp32" or "int8" where a budget or the user leaves no choice; the gates are judged
            all the same.
    """
    fp32, int8 = metrics.get("student_fp32"), metrics.get("student_int8")
    lost = (
        None
        if fp32 is None or int8 is None
        else 100 * (fp32["correct"] - int8["correct"]) / fp32["n"]
    )
    ratio = None if speedup is None else float(speedup["p50"])
    quantized = bool(kernels["is_quantized"])
    gates = [
        Gate(
            "top-1 lost by int8 against fp32, at most",
            "points",
            MAX_DROP_POINTS,
            lost,
            None if lost is None else lost <= MAX_DROP_POINTS + 1e-9,
        ),
        Gate(
            f"int8 faster than fp32, at least (less {RUN_TO_RUN:.0%} between runs)",
            "times",
            MIN_SPEEDUP,
            ratio,
            _reached(speedup),
        ),
        Gate("most products and convolutions ran as int8", "yes", 1.0, float(quantized), quantized),
    ]
    if wanted != "auto":
        missed = [gate.what for gate in gates if gate.passed is False]
        told = (
            f" The gates would not have chosen int8: missed is {'; '.join(missed)}."
            if missed and wanted == "int8"
            else ""
        )
        return gates, Ship(
            f"model.{wanted}.onnx",
            wanted,
            f"{wanted} ships because it was asked for (bench.precision).{told}",
        )
    failed = [
        why
        for gate, why in zip(gates, _complaints(lost, ratio), strict=True)
        if gate.passed is False
    ]
    if failed or ratio is None:
        why = ", and ".join(failed) or "the speed of int8 was not measured"
        return gates, Ship(
            "model.fp32.onnx", "fp32", f"fp32 is the better file on this machine: {why}."
        )
    told = f"int8 is {ratio:.2f}× as fast as fp32 here"
    if lost is None:
        return gates, Ship(
            "model.int8.onnx",
            "int8",
            f"{told}; what it costs in accuracy is not known without test images.",
        )
    cost = (
        "costs no accuracy"
        if lost == 0
        else f"loses {lost:.2f} points"
        if lost > 0
        else f"gains {-lost:.2f} points"
    )
    return gates, Ship(
        "model.int8.onnx",
        "int8",
        f"{told} and {cost} on the test set (limit {MAX_DROP_POINTS:g} points).",
    )


def _reached(speedup: Mapping[str, Any] | None) -> bool | None:
    """Whether the limit, less what runs differ by, lies within or below the interval of the
    measured speed-up.
    """
    return None if speedup is None else bool(speedup["ci95"][1] >= MIN_SPEEDUP * (1 - RUN_TO_RUN))


def _complaints(lost: float | None, ratio: float | None) -> list[str]:
    return [
        f"int8 loses {lost or 0:.2f} points of top-1, more than {MAX_DROP_POINTS:g}",
        f"int8 is only {ratio or 0:.2f}× as fast, less than {MIN_SPEEDUP:g}×"
        if (ratio or 0) >= 1
        else f"int8 is slower ({ratio or 0:.2f}× the speed of fp32)",
        "most of its products and convolutions still ran in floating point",
    ]
