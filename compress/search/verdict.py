"""The verdict on a build within a budget: its limits judged, and what the search considered,
written into its report.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.budgets.calibration import load_calibration
from compress.budgets.grammar import parse_budget
from compress.budgets.judge import evidence, judge
from compress.engine.errors import ConfigError
from compress.engine.runner import Run
from compress.engine.store import write_json
from compress.report.rerender import rerender
from compress.search.record import RESULT


def judge_run(built: Run, benches: Sequence[Path] = ()) -> dict[str, Any]:
    """Judges a finished run, writes the rows into its report and renders it again.

    Raises:
        ConfigError: the run has no report.
    """
    if "report" not in built.stages:
        raise ConfigError("a budget is judged by the report, and this run has none", got=built.name)
    limits = parse_budget(*built.settings.budget.limits)
    known = [load_calibration(path) for path in built.settings.budget.calibration]
    report = built.report
    report["candidates"] = candidates_of(built)
    report["calibrations"] = [vars(calibration) for calibration in known]
    report["budgets"] = judge(limits, evidence(report, built.bundle, limits, known))
    write_json(built.folder / "report.json", report)
    return rerender(built.folder, benches)


def candidates_of(built: Run) -> list[dict[str, Any]]:
    """What the search of this run considered, if it was this build that it chose; the chosen one
    with its measured values.
    """
    file = built.folder / RESULT
    if not file.is_file():
        return []
    told = json.loads(file.read_text())
    chosen, own = told["chosen"] or {}, built.settings
    if (chosen.get("student"), chosen.get("size")) != (own.distill.student, own.image.size):
        return []  # another build under the same name
    for row in told["candidates"]:
        if row["status"] == "chosen":
            built_row = _measured(built.report, row["precision"])
            row["measured"] = built_row or row["measured"]
            form = built.report["accuracy"].get(f"student_{row['precision']}")
            row["top1"] = form["top1"] if form else row["top1"]
            row["why"] = told["why"]
    rows: list[dict[str, Any]] = told["candidates"]
    return rows


def _measured(report: dict[str, Any], precision: str) -> dict[str, Any] | None:
    """The finished file's own time and size on this machine."""
    for row in report["latency"]:
        if (row["model"], row["precision"], row["includes"]) == (
            "student",
            precision,
            "compute",
        ) and row["batch"] == 1:
            size = report["size_bytes"].get(f"student_{precision}")
            return {
                "basis": "measured",
                "device": "host",
                "untrained": False,
                "threads": row["threads"],
                "n": row["n"],
                "p50_ms": row["p50_ms"],
                "p90_ms": row["p90_ms"],
                "p99_ms": row["p99_ms"],
                "size_bytes": size,
                "verdict": row["verdict"],
            }
    return None
