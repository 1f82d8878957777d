"""``compress report``: the report of a finished run once more, with what other devices measured.

Everything comes from report.json; only pictures and curves are read from the stages that the run
folder links to. What an older version did not write yet, and the stages can tell, is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.bench.stage import changed
from compress.budgets.judge import rejudged
from compress.engine.errors import ConfigError
from compress.engine.runs import RunFolder
from compress.engine.store import Artifact
from compress.report.artifact import ReportArtifact
from compress.report.merge import merge
from compress.report.model.report import validate
from compress.report.page import Material, render_html, render_markdown
from compress.report.stage import material

PICTURED = (
    "data",
    "generate",
    "distill",
    "quantize",
    "bench",
)  # stages that the page takes pictures and curves from
WITHOUT_PICTURES = (
    "the stages of this run are not at hand: this rendering has no pictures "
    "of images and no training curves"
)


def rerender(run: Path, benches: Sequence[Path] = (), out: Path | None = None) -> dict[str, Any]:
    """Writes report.json, report.md and report.html to ``out`` (default: the run's folder) and
    returns the report.

    Args:
        run: the run's folder: report.json, bundle/, and links to its stages.
        benches: bench.json files of this bundle from other devices.

    Raises:
        ConfigError: not the folder of a finished run.
        BenchFileError: a bench.json that is damaged or measured another bundle.
        BudgetError: a limit in report.json that cannot be read, so that it cannot be judged again.
        Clip2EdgeError: a report.json that does not keep its contract.
    """
    report = merge(completed(load(run), run), benches, RunFolder(run).bundle)
    if benches:
        report = rejudged(report, RunFolder(run).bundle)
    validate(report)
    stages = {name: Artifact(name, run / name, {}, "") for name in PICTURED}
    at_hand = all(stage.path.is_dir() for stage in stages.values())
    shown = material(report, stages) if at_hand else Material()
    folder = out or run
    folder.mkdir(parents=True, exist_ok=True)
    told = report if at_hand else {**report, "states": [*report["states"], WITHOUT_PICTURES]}
    file = ReportArtifact(folder)
    file.write_json(report)
    file.write_pages(render_markdown(told), render_html(told, shown))
    return report


def load(run: Path) -> dict[str, Any]:
    """The report.json of a run.

    Raises:
        ConfigError: there is none, or it is not JSON.
        Clip2EdgeError: it does not keep its contract.
    """
    try:
        report = ReportArtifact(run).read()
    except FileNotFoundError as error:
        raise ConfigError(
            "this is not the folder of a finished run",
            got=str(run),
            expected="a folder with report.json and bundle/",
            remedy="compress show lists the runs; compress build finishes one",
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            "report.json cannot be read", got=f"{run}: {error}", remedy="build the run again"
        ) from error
    validate(report)
    return report


def completed(report: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """The report with the fields that its version did not write yet, from the predictions that the
    run kept.
    """
    out = {
        "candidates": [],
        "devices": [],
        "sensitivity": None,
        "breakdown": None,
        "changes": {},
        **report,
    }
    predictions = run / "bench" / "predictions.npz"
    if not out["changes"] and report["accuracy"] and predictions.is_file():
        with np.load(predictions, allow_pickle=False) as stored:
            logits = {name: stored[name] for name in stored.files if name != "labels"}
        out["changes"] = changed(run / "data", logits)
    return out


def add_sensitivity(run: Path, result: Mapping[str, Any]) -> bool:
    """Puts the result into the run's report.json and renders its pages again; False where the run
    has no report.

    Raises:
        Clip2EdgeError: a report.json that does not keep its contract.
    """
    if not ReportArtifact(run).exists:
        return False
    report = load(run)
    told = {
        key: value for key, value in result.items() if key not in ("candidates", "schema", "kind")
    }
    ReportArtifact(run).write_json({**report, "sensitivity": told})
    rerender(run)
    return True
