"""The verdict on a build within a budget: its limits judged, its search shown, in its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compress.budgets.calibration import COMPUTE, load_calibration
from compress.budgets.grammar import parse_budget
from compress.budgets.judge import gather, judge
from compress.budgets.variants import HOST
from compress.engine.errors import ConfigError
from compress.engine.runner import BaseRun
from compress.report.artifact import ReportArtifact
from compress.report.rerender import rerender
from compress.search.candidates import Row
from compress.search.record import SearchRecord
from compress.search.sketch_bench import LATENCIES


def judge_run(built: BaseRun, benches: Sequence[Path] = ()) -> None:
    """Judges a finished run (ConfigError: it has no report), and renders its report again."""
    if "report" not in built.stages:
        raise ConfigError("a budget is judged by the report, and this run has none", got=built.name)
    limits = parse_budget(*built.settings.budget.limits)
    calibrations = [load_calibration(path) for path in built.settings.budget.calibration]
    file = ReportArtifact(built.folder)
    report = file.read()
    report["candidates"] = candidates_of(built, report)
    report["calibrations"] = [vars(calibration) for calibration in calibrations]
    report["budgets"] = judge(limits, gather(report, built.bundle, limits, calibrations))
    file.write_json(report)
    rerender(built.folder, benches)


def candidates_of(built: BaseRun, report: Row) -> Sequence[Row]:
    """The candidates of the search that chose this build; the chosen one with its final values."""
    result = SearchRecord(built.folder).result()
    if result is None:
        return []
    chosen = result["chosen"] or {}
    own = built.settings
    if (chosen.get("student"), chosen.get("size")) != (own.distill.student, own.image.size):
        return []  # another build under the same name
    return [
        _finished(row, report, result) if row["status"] == "chosen" else row
        for row in result["candidates"]
    ]


def _finished(row: Row, report: Row, result: Row) -> Row:
    """The chosen row with time and size of the finished file on this machine."""
    own = f"student_{row['precision']}"
    measured = row["measured"]
    of_file = {"model": "student", "precision": row["precision"], "includes": COMPUTE, "batch": 1}
    timed = next((one for one in report["latency"] if of_file.items() <= one.items()), None)
    if timed is not None:
        about = {"basis": "measured", "device": HOST, "untrained": False}
        times = {key: timed[key] for key in ("threads", "n", *LATENCIES, "verdict")}
        measured = {**about, **times, "size_bytes": report["size_bytes"].get(own)}
    top1 = report["accuracy"].get(own, row)["top1"]
    return {**row, "measured": measured, "top1": top1, "why": result["why"]}
