"""Limits against a finished run: PASS, FAIL or not known, each with what its value rests on.

This machine's values are measured by the build; another device's are measured where a
``bench.json`` of it and of this very bundle was given, and estimates otherwise. An estimate never
stands where a measurement was asked for and is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.budgets.calibration import Calibration
from compress.budgets.devices import device, matching
from compress.budgets.grammar import HOST, Limit, devices_of, parse_budget, show
from compress.budgets.roofline import Estimate
from compress.budgets.variants import FILES, estimates, models_of

COMPUTE, TEACHER = "compute", "teacher"
NO_TAIL = (
    "a roofline knows no tail: measure there (compress bench BUNDLE --out bench.json), "
    "then compress report --bench"
)


@dataclass(frozen=True)
class Value:
    """What is known of a metric: None where nothing is, and why."""

    value: float | None
    basis: str
    why: str = ""


@dataclass(frozen=True)
class Evidence:
    """All that limits are judged by: the run's report and estimates of its files on other
    devices.
    """

    report: Mapping[str, Any]
    estimates: Mapping[str, Mapping[str, Estimate]]

    def value(self, limit: Limit, precision: str) -> Value:
        """A limit's metric of the file with this precision."""
        if limit.metric == "size":
            return self._size(precision)
        if limit.device is None:
            return self._accuracy(limit.metric, precision)
        if limit.device == HOST:
            return self._here(limit.metric, precision)
        return self._there(limit, precision)

    def _size(self, precision: str) -> Value:
        sizes = self.report["size_bytes"]
        exact = sizes.get(f"student_{precision}")
        if exact is not None:
            return Value(float(exact), "measured")
        if precision == "fp16" and "student_fp32" in sizes:
            return Value(
                sizes["student_fp32"] / 2,
                "estimate",
                "half of the float file; the fp16 file is not in the bundle",
            )
        return Value(None, "measured", f"there is no {precision} file")

    def _accuracy(self, metric: str, precision: str) -> Value:
        forms = self.report["accuracy"]
        own = f"student_{precision}"
        borrowed = precision == "fp16" and own not in forms
        student = forms.get("student_fp32" if borrowed else own)
        if student is None:
            return Value(None, "measured", "accuracy was not measured: there are no test images")
        basis, why = (
            ("estimate", "of the fp32 file: fp16 was not tested") if borrowed else ("measured", "")
        )
        if metric == "top1":
            return Value(100 * student["top1"], basis, why)
        other = forms.get("teacher" if metric == "drop" else "student_fp32")
        if other is None:
            return Value(None, basis, "there is nothing to compare with")
        return Value(100 * (other["top1"] - student["top1"]), basis, why)

    def _here(self, metric: str, precision: str) -> Value:
        rows = [
            row
            for row in self.report["latency"]
            if row["model"] == "student" and row["precision"] == precision
        ]
        return _from_rows(rows, metric, (self.report.get("cold") or {}).get(f"student_{precision}"))

    def _there(self, limit: Limit, precision: str) -> Value:
        name = str(limit.device)
        for bench in (
            self.report.get("devices") or []
        ):  # each is of this very bundle: merging refuses others
            if name not in matching(bench["host"].get("device")):
                continue
            engine = device(name).engine
            for key in FILES[engine].get(precision, ()):
                rows = [
                    row
                    for row in bench["rows"]
                    if row["model"] != TEACHER and row["precision"] == key
                ]
                rows.sort(key=lambda row: row["backend"] != engine)  # the device's own engine first
                found = _from_rows(rows, limit.metric, (bench.get("cold") or {}).get(key))
                if found.value is not None:
                    return Value(
                        found.value, "measured", _joined(f"bench of {bench['started']}", found.why)
                    )
        told = self.estimates.get(name, {}).get(precision)
        if told is None:
            return Value(None, "estimate", f"no {precision} file runs on {name}")
        value = told.value(limit.metric)
        if value is None:
            return Value(
                None,
                "estimate",
                NO_TAIL if limit.metric in ("p90", "p99") else "a roofline does not know it",
            )
        calibrated = (
            "calibrated roofline"
            if told.calibration
            else "roofline without calibration: easily off by a factor of two"
        )
        upper = "; an upper bound: the mode's whole power" if limit.metric == "energy" else ""
        return Value(value, "estimate", f"{calibrated}{upper}")


def _from_rows(
    rows: Sequence[Mapping[str, Any]], metric: str, cold: Mapping[str, Any] | None
) -> Value:
    """A metric from the first compute row of one image: the run's first number of threads."""
    row = next((r for r in rows if r["includes"] == COMPUTE and r["batch"] == 1), None)
    if row is None:
        return Value(None, "measured", "this file was not timed")
    stamp = _joined(
        row["backend"], "" if row["verdict"] == "VALID" else f"stamped {row['verdict']}"
    )
    value: Any
    if metric == "memory":
        value, stamp = (cold or {}).get("peak_rss_bytes") or row.get("peak_rss_bytes"), ""
        missing = "peak memory was not measured"
    elif metric == "energy":
        value, missing = (
            (row.get("energy") or {}).get("mj_per_inference"),
            "no sensor gave the energy",
        )
    elif metric in ("load", "first"):
        value, missing = (
            (cold or {}).get(f"{metric}_ms") or row.get(f"{metric}_ms"),
            f"{metric} was not measured",
        )
    else:
        value, missing = row.get(f"{metric}_ms"), f"{row['n']} samples are too few for {metric}"
    return (
        Value(None, "measured", missing)
        if value is None
        else Value(float(value), "measured", stamp)
    )


def evidence(
    report: Mapping[str, Any],
    bundle: Path,
    limits: Iterable[Limit],
    known: Sequence[Calibration] = (),
) -> Evidence:
    """The evidence of a run: its report, and estimates of its bundle's files on the devices that
    the limits name.
    """
    models = models_of(bundle)
    foreign = [name for name in devices_of(limits) if name != HOST]
    told = {name: estimates(models, device(name), known) for name in foreign}
    return Evidence(report, told)


def judge(limits: Sequence[Limit], told: Evidence) -> list[dict[str, Any]]:
    """report.json["budgets"]: a row per limit, for the file that the budget is judged with.

    That is the file that ships here where the host is among the budget's devices. For other devices
    it is the precision that breaks the fewest limits there, the faster one of equals.
    """
    precision = judged_precision(limits, told)
    return [_row(limit, told.value(limit, precision), precision) for limit in limits]


def judged_precision(limits: Sequence[Limit], told: Evidence) -> str:
    """The precision whose file the limits are judged with."""
    devices = devices_of(limits)
    shipped = str(told.report["student"]["shipped"]).removeprefix("student_")
    if HOST in devices:
        return shipped
    offered = [set(told.estimates[name]) for name in devices]
    common = [
        precision
        for precision in ("int8", "fp16", "fp32")
        if all(precision in found for found in offered)
    ]

    def missed(precision: str) -> tuple[int, float]:
        values = [(limit, told.value(limit, precision).value) for limit in limits]
        broken = sum(value is None or not limit.holds(value) for limit, value in values)
        return broken, told.estimates[devices[0]][precision].p50_ms

    return min(common, key=missed) if common else shipped


def _row(limit: Limit, found: Value, precision: str) -> dict[str, Any]:
    passed = None if found.value is None else limit.holds(found.value)
    return {
        "what": limit.text.partition("@")[0],
        "metric": limit.metric,
        "device": limit.device,
        "limit": limit.value,
        "value": found.value,
        "unit": limit.unit,
        "basis": found.basis,
        "pass": passed,
        "why": _joined(f"{precision} file", found.why),
        "precision": precision,
    }


def rejudged(report: dict[str, Any], bundle: Path) -> dict[str, Any]:
    """A report whose budget is judged again, e.g. after the measurements of another device were
    merged into it.
    """
    if not report.get("budgets") or not (bundle / "manifest.json").is_file():
        return report
    limits = parse_budget(*map(written, report["budgets"]))
    known = [Calibration(**row) for row in report.get("calibrations") or []]
    return {**report, "budgets": judge(limits, evidence(report, bundle, limits, known))}


def written(row: Mapping[str, Any]) -> str:
    """The limit of a row as it is written in a budget."""
    what = str(row["what"])
    return what if "@" in what or not row.get("device") else f"{what}@{row['device']}"


def kept(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether every limit is known to be kept: what is not known is not kept."""
    return all(row["pass"] is True for row in rows)


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
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
