"""A finished run's folder, and bench.json files beside it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from finished_runs import Finished
from report_devices import BUDGETS, CANDIDATES, SENSITIVITY, three_devices

from compress.report import merge
from compress.report.model import report as model


def written(folder: Path, bench: dict[str, Any], name: str = "bench.json") -> Path:
    file = folder / name
    file.write_text(json.dumps(bench))
    return file


def all_three(run: Path, tmp_path: Path) -> list[Path]:
    return [
        written(tmp_path, bench, f"{name}.json")
        for name, bench in three_devices(run / "bundle").items()
    ]


def full(finished: Finished, run: Path) -> dict[str, Any]:
    """A report with everything that other commands put into it."""
    report = {
        **copy.deepcopy(finished.report),
        "budgets": BUDGETS,
        "candidates": CANDIDATES,
        "sensitivity": SENSITIVITY,
    }
    report["devices"] = [merge.shortened(bench) for bench in three_devices(run / "bundle").values()]
    model.parse(report)
    return report
