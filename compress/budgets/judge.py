"""Limits against a finished run: PASS, FAIL or not known, each with the basis of its value.

Values of this machine are measured by the build. Those of another device are measured if its
``bench.json`` of this very bundle is given, and estimates otherwise. An estimate never passes for a
measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from compress.budgets.calibration import COMPUTE, Calibration
from compress.budgets.devices import device, matching
from compress.budgets.estimates import estimates, models_of
from compress.budgets.grammar import Limit, devices_of, parse_budget, show
from compress.budgets.roofline import Estimate
from compress.budgets.variants import ENGINES, HOST, PRECISIONS

TEACHER = "teacher"
NO_TAIL = (
    "a roofline knows no tail: measure there (compress bench BUNDLE --out bench.json), "
    "then compress report --bench"
)
NOT_CALIBRATED = "roofline without calibration: easily off by a factor of two"
JudgedLimit = TypedDict(
    "JudgedLimit",
    {
        "what": str,
        "metric": str,
        "device": str | None,
        "limit": float,
        "value": float | None,
        "unit": str,
        "basis": str,
        "pass": bool | None,
        "why": str,
        "precision": str,
    },
)
"""A row of report.json["budgets"]."""


@dataclass(frozen=True)
class LimitValue:
    """A metric's value, "measured" or "estimate"; None if it is not known, and why."""

    value: float | None
    basis: str
    why: str = ""


@dataclass(frozen=True)
class RunEvidence:
    """A run's report, and device -> precision -> estimate of its files."""

    report: Mapping[str, Any]
    estimates: Mapping[str, Mapping[str, Estimate]]

    def value(self, limit: Limit, precision: str) -> LimitValue:
        """A limit's metric for the file of this precision."""
        if limit.metric == "size":
            return self._size(precision)
        if limit.device is None:
            return self._accuracy(limit.metric, precision)
        if limit.device != HOST:
            return self._on_device(limit.device, limit.metric, precision)
        latency = self.report["latency"]
        rows = [r for r in latency if r["model"] == "student" and r["precision"] == precision]
        cold = (self.report.get("cold") or {}).get(f"student_{precision}")
        return _from_rows(rows, limit.metric, cold)

    def _size(self, precision: str) -> LimitValue:
        sizes = self.report["size_bytes"]
        exact = sizes.get(f"student_{precision}")
        if exact is not None:
            return LimitValue(float(exact), "measured")
        if precision == "fp16" and "student_fp32" in sizes:
            why = "half of the float file; the fp16 file is not in the bundle"
            return LimitValue(sizes["student_fp32"] / 2, "estimate", why)
        return LimitValue(None, "measured", f"there is no {precision} file")

    def _accuracy(self, metric: str, precision: str) -> LimitValue:
        accuracy = self.report["accuracy"]
        own = f"student_{precision}"
        is_stand_in = precision == "fp16" and own not in accuracy
        basis = "estimate" if is_stand_in else "measured"
        why = "of the fp32 file: fp16 was not tested" if is_stand_in else ""
        tested = accuracy.get("student_fp32" if is_stand_in else own)
        if tested is None:
            why = "accuracy was not measured: there are no test images"
            return LimitValue(None, "measured", why)
        top1 = tested["top1"]
        if metric == "top1":
            return LimitValue(100 * top1, basis, why)
        reference = accuracy.get("teacher" if metric == "drop" else "student_fp32")
        if reference is None:
            return LimitValue(None, basis, "there is nothing to compare with")
        return LimitValue(100 * (reference["top1"] - top1), basis, why)

    def _on_device(self, name: str, metric: str, precision: str) -> LimitValue:
        # every bench is of this very bundle: merging refuses others
        for bench in self.report.get("devices") or []:
            if name in matching(bench["host"].get("device")):
                measured = _from_bench(bench, device(name).engine, metric, precision)
                if measured is not None:
                    return measured
        estimate = self.estimates.get(name, {}).get(precision)
        if estimate is None:
            return LimitValue(None, "estimate", f"no {precision} file runs on {name}")
        value = estimate.value(metric)
        basis = "calibrated roofline" if estimate.calibration else NOT_CALIBRATED
        upper = "an upper bound: the mode's whole power" if metric == "energy" else ""
        why = _joined(basis, upper)
        if value is None:
            why = NO_TAIL if metric in ("p90", "p99") else "a roofline does not know it"
        return LimitValue(value, "estimate", why)


def _from_bench(
    bench: Mapping[str, Any], engine: str, metric: str, precision: str
) -> LimitValue | None:
    """A metric measured on the device, by its own engine if that ran; None where it was not."""
    for key in ENGINES[engine].files.get(precision, ()):
        rows = [row for row in bench["rows"] if row["model"] != TEACHER and row["precision"] == key]
        rows.sort(key=lambda row: row["backend"] != engine)
        measured = _from_rows(rows, metric, (bench.get("cold") or {}).get(key))
        if measured.value is not None:
            return replace(measured, why=_joined(f"bench of {bench['started']}", measured.why))
    return None


def _from_rows(
    rows: Sequence[Mapping[str, Any]], metric: str, cold: Mapping[str, Any] | None
) -> LimitValue:
    """A metric from the first compute row of one image: the run's first number of threads."""
    row = next((r for r in rows if r["includes"] == COMPUTE and r["batch"] == 1), None)
    if row is None:
        return LimitValue(None, "measured", "this file was not timed")
    key = "peak_rss_bytes" if metric == "memory" else f"{metric}_ms"
    value = row.get(key)
    missing = f"{row['n']} samples are too few for {metric}"
    if metric in ("memory", "load", "first"):
        value = (cold or {}).get(key) or value
        missing = f"{'peak memory' if metric == 'memory' else metric} was not measured"
    elif metric == "energy":
        value = (row.get("energy") or {}).get("mj_per_inference")
        missing = "no sensor gave the energy"
    if value is None:
        return LimitValue(None, "measured", missing)
    stamp = "" if row["verdict"] == "VALID" else f"stamped {row['verdict']}"
    why = "" if metric == "memory" else _joined(row["backend"], stamp)
    return LimitValue(float(value), "measured", why)


def gather(
    report: Mapping[str, Any],
    bundle: Path,
    limits: Iterable[Limit],
    calibrations: Sequence[Calibration] = (),
) -> RunEvidence:
    """A run's report, and estimates of its bundle on the other devices that the limits name."""
    models = models_of(bundle)
    foreign = [name for name in devices_of(limits) if name != HOST]
    known = {name: estimates(models, device(name), calibrations) for name in foreign}
    return RunEvidence(report, known)


def judge(limits: Sequence[Limit], evidence: RunEvidence) -> list[JudgedLimit]:
    """report.json["budgets"]: a row per limit, for the file that the budget is judged with."""
    precision = judged_precision(limits, evidence)
    return [_row(limit, evidence.value(limit, precision), precision) for limit in limits]


def _row(limit: Limit, known: LimitValue, precision: str) -> JudgedLimit:
    return {
        "what": limit.text.partition("@")[0],
        "metric": limit.metric,
        "device": limit.device,
        "limit": limit.value,
        "value": known.value,
        "unit": limit.unit,
        "basis": known.basis,
        "pass": None if known.value is None else limit.holds(known.value),
        "why": _joined(f"{precision} file", known.why),
        "precision": precision,
    }


def judged_precision(limits: Sequence[Limit], evidence: RunEvidence) -> str:
    """The precision whose file the limits are judged with.

    That is the file that ships here if the host is among the budget's devices. For other devices it
    is the precision that breaks the fewest limits there, the faster one of equals.
    """
    devices = devices_of(limits)
    shipped = str(evidence.report["student"]["shipped"]).removeprefix("student_")
    if HOST in devices:
        return shipped

    def broken(precision: str) -> tuple[int, float]:
        values = [(limit, evidence.value(limit, precision).value) for limit in limits]
        count = sum(value is None or not limit.holds(value) for limit, value in values)
        return count, evidence.estimates[devices[0]][precision].p50_ms

    offered = [set(evidence.estimates[name]) for name in devices]
    common = [name for name in reversed(PRECISIONS) if all(name in found for found in offered)]
    return min(common, key=broken, default=shipped)


def rejudged(report: Mapping[str, Any], bundle: Path) -> dict[str, Any]:
    """A report whose budget is judged again, e.g. after a device's measurements were merged in."""
    if not report.get("budgets") or not (bundle / "manifest.json").is_file():
        return dict(report)
    limits = parse_budget(*map(written, report["budgets"]))
    calibrations = [Calibration(**row) for row in report.get("calibrations") or []]
    return {**report, "budgets": judge(limits, gather(report, bundle, limits, calibrations))}


def written(row: Mapping[str, Any]) -> str:
    """The limit of a row as a budget spells it."""
    what = str(row["what"])
    return what if "@" in what or not row.get("device") else f"{what}@{row['device']}"


def kept(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether every limit is known to be kept."""
    return all(row["pass"] is True for row in rows)


def lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line per limit for a terminal; an estimate is marked."""
    out = []
    for row in rows:
        word = {True: "PASS", False: "FAIL", None: "OPEN"}[row["pass"]]
        mark = " (estimate)" if row["basis"] == "estimate" and row["pass"] is not None else ""
        value = "not known" if row["value"] is None else show(row["value"], row["unit"])
        out.append(f"{word + mark:15}  {written(row):28}  {value}  {row['why']}".rstrip())
    return out


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
