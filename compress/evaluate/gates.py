"""Which file ships: int8 only if it keeps accuracy, is faster, and really runs as int8.

The decision is per machine, because int8 that is faster on one processor is slower on another. One
more gate does not decide: whether the int8 file is as fast as onnxruntime's own quantization of the
same network. A miss means that the export left something in float that need not be.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runtime.backends import BACKENDS

MAX_DROP_POINTS = 0.5  # or one test image, where that is more: below 200 of them
MIN_SPEEDUP = BACKENDS["onnxruntime"].min_speedup
RUN_TO_RUN = 0.10  # share by which two measurements of the same files differ on one machine
STEADY = "VALID"  # the stamp of a series that may be quoted, see runtime/bench/latency.py
MAX_OVER_STATIC = 1.05  # time of the int8 file over that of static quantization, in one run


@dataclass(frozen=True)
class Gate:
    """One condition: its limit, the measured value, and whether it passed; None = not measured."""

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
    """The verdict: the bundle's default model on this machine, and why."""

    file: str
    precision: str
    reason: str

    def plain(self) -> dict[str, Any]:
        """JSON-able values."""
        return asdict(self)


def allowed_drop(images: int) -> float:
    """Points that int8 may lose on so many test images: one of them at least."""
    return max(MAX_DROP_POINTS, 100 / images)


def decide(
    metrics: Mapping[str, Mapping[str, Any]],
    speedup: Mapping[str, Any] | None,
    kernels: Mapping[str, Any],
    precision: str = "auto",
    stamps: Collection[str] = (),
) -> tuple[list[Gate], Ship]:
    """The gates and the verdict.

    Args:
        metrics: model -> metrics with "n" and "correct"; empty without test images.
        speedup: {"p50", "ci95"}: fp32 over int8, compute only, one thread count. The gate fails
            only if the whole interval lies ``RUN_TO_RUN`` below the limit, so that noise does not
            flip the verdict of two identical builds.
        stamps: of the two series behind it. What was measured on a busy machine counts against
            int8 only if it was slower than fp32 even so; between that and the limit it is open.
        kernels: {"ran": kernel -> count, "is_quantized"} of the int8 file.
        precision: "fp32" or "int8" leaves no choice; the gates are judged all the same.
    """
    lost = accurate = ratio = None
    right, limit = "", MAX_DROP_POINTS
    fast: bool | None = None
    unsteady = sorted({stamp for stamp in stamps if stamp != STEADY})
    if metrics.keys() >= {"student_fp32", "student_int8"}:
        fp32 = metrics["student_fp32"]
        right = f"int8 has {metrics['student_int8']['correct']:,} of {fp32['n']:,} test images"
        right += f" right, fp32 {fp32['correct']:,}"
        lost = 100 * (fp32["correct"] - metrics["student_int8"]["correct"]) / fp32["n"]
        limit = allowed_drop(fp32["n"])
        accurate = lost <= limit + 1e-9
    if speedup is not None:
        ratio = float(speedup["p50"])
        highest = float(speedup["ci95"][1])
        fast = highest >= MIN_SPEEDUP * (1 - RUN_TO_RUN)
        if unsteady and not fast and highest >= 1:
            fast = None
    quantized = bool(kernels["is_quantized"])
    speed_gate = f"int8 faster than fp32, at least (less {RUN_TO_RUN:.0%} between runs)"
    gates = [
        Gate("top-1 lost by int8 against fp32, at most", "points", limit, lost, accurate),
        Gate(speed_gate, "times", MIN_SPEEDUP, ratio, fast),
        Gate("most products and convolutions ran as int8", "yes", 1.0, float(quantized), quantized),
    ]
    if precision != "auto":
        why = f"{precision} ships because it was asked for (bench.precision)."
        missed = [gate.what for gate in gates if gate.passed is False]
        if missed and precision == "int8":
            why += f" The gates would not have chosen int8: missed is {'; '.join(missed)}."
    else:
        precision, why = _choose(gates, right, ratio, unsteady)
    return gates, Ship(f"model.{precision}.onnx", precision, why)


def class_gate(
    metrics: Mapping[str, Mapping[str, Any]], names: Sequence[str], limit: float, least: int
) -> tuple[Gate, list[str]]:
    """Whether int8 keeps every class that has enough test images; a sentence for each it does not.

    It does not decide what ships: the classes are a person's to weigh, and a block that stays in
    float may mend one.

    Args:
        metrics: model -> metrics with "confusion"; empty without test images.
        names: of the classes.
        limit: points that a class may lose.
        least: test images that make a class's loss worth a sentence.
    """
    what = f"top-1 lost by int8 in a class of {least} or more test images, at most"
    if not metrics.keys() >= {"student_fp32", "student_int8"}:
        return Gate(what, "points", limit, None, None), []
    float_rows, int8_rows = (
        metrics[name]["confusion"] for name in ("student_fp32", "student_int8")
    )
    losses = {
        k: (100 * (before[k] - after[k]) / sum(before), sum(before))
        for k, (before, after) in enumerate(zip(float_rows, int8_rows, strict=True))
        if sum(before) >= least
    }
    if not losses:
        return Gate(what, "points", limit, None, None), []
    worst = max(max(lost for lost, _ in losses.values()), 0.0)
    told = [
        f"int8 loses {lost:.1f} points in the class {names[k]!r} ({n} test images, limit "
        f"{limit:g}): compress sensitivity RUN finds the block to keep in float"
        for k, (lost, n) in sorted(losses.items(), key=lambda one: (-one[1][0], one[0]))
        if lost > limit + 1e-9
    ]
    return Gate(what, "points", limit, worst, worst <= limit + 1e-9), told


def static_gate(speedup: Mapping[str, Any] | None) -> tuple[Gate, str | None]:
    """Whether int8 is as fast as static quantization, and a sentence if it is slower.

    Args:
        speedup: {"p50", "ci95"}: static quantization over int8, timed in turns. The gate fails
            only if the whole interval misses the limit.
    """
    what = "time of int8 over ONNX Runtime's static quantization, at most"
    if speedup is None:
        return Gate(what, "times", MAX_OVER_STATIC, None, None), None
    ratio = 1 / float(speedup["p50"])
    low, high = sorted(1 / float(bound) for bound in speedup["ci95"])
    gate = Gate(what, "times", MAX_OVER_STATIC, ratio, low <= MAX_OVER_STATIC)
    slower = (
        f"the int8 file takes {ratio:.2f}× the time of ONNX Runtime's static quantization of the "
        f"same student (95 % CI {low:.2f} to {high:.2f}, limit {MAX_OVER_STATIC:g}×)"
    )
    return gate, None if gate.passed else slower


def _choose(
    gates: Sequence[Gate], right: str, ratio: float | None, unsteady: Sequence[str]
) -> tuple[str, str]:
    """The precision that the gates choose, and why.

    The answers are counted: a gain or a loss would be a claim, which so few images rarely support.
    """
    limit = f"{MAX_DROP_POINTS:g} points"
    if gates[0].limit > MAX_DROP_POINTS:
        limit = "one image"
    busy = f", measured on a busy machine ({', '.join(unsteady)})" if unsteady else ""
    complaints = (
        f"{right}: more than {limit} fewer",
        f"int8 is only {ratio or 0:.2f}× as fast, less than {MIN_SPEEDUP:g}×"
        if (ratio or 0) >= 1
        else f"int8 is slower ({ratio or 0:.2f}× the speed of fp32)",
        "most of its products and convolutions still ran in floating point",
    )
    failed = [why for gate, why in zip(gates, complaints, strict=True) if gate.passed is False]
    if failed or ratio is None:
        why = ", and ".join(failed) or "the speed of int8 was not measured"
        return "fp32", f"fp32 is the better file on this machine: {why}{busy}."
    speed = f"int8 is {ratio:.2f}× as fast as fp32 here{busy}"
    if not right:
        return ("int8", f"{speed}; what it costs in accuracy is not known without test images.")
    return "int8", f"{speed}; {right} (limit: {limit} fewer)."
