"""Puts a build's report into its run folder without losing what later commands added there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.engine.errors import Clip2EdgeError
from compress.report.artifact import FILES, ReportArtifact
from compress.report.card import with_accuracy, write_card
from compress.report.model.report import parse
from compress.report.rerender import load, rerender
from export.bundle.files import CARD
from runtime.files.atomic import atomic

ADDED = {"devices": "measurements of other devices", "sensitivity": "the sensitivity"}


def publish_report(stage: Path, run: Path, *, same_model: bool) -> list[str]:
    """Makes the run's report the one of the stage, with additions if the model is the same.

    Returns what the user should know.
    """
    fresh, before = ReportArtifact(stage).read(), _before(run)
    added = {key: before[key] for key in ADDED if before.get(key)}
    if added and same_model:
        merged = {**fresh, **added}
        if before != merged or not all((run / file).is_file() for file in FILES):
            ReportArtifact(run).write_json(merged)
            rerender(run)
        return []
    for file in FILES:
        text = (stage / file).read_bytes()
        if not (run / file).is_file() or (run / file).read_bytes() != text:
            with atomic(run / file) as temporary:
                shutil.copyfile(stage / file, temporary)
    write_card(run, run / "bundle", parse(fresh))
    what = " and ".join(ADDED[key] for key in added)
    return [f"dropped from the report, because of another model: {what}"] if added else []


def measured_card(stage: Path, bundle: Path) -> str:
    """The card of a build's bundle with the accuracy that its report stage has."""
    card = (bundle / CARD).read_text(encoding="utf-8")
    return with_accuracy(card, parse(ReportArtifact(stage).read()))


def _before(run: Path) -> Mapping[str, Any]:
    """The report that is there, empty if it cannot be used."""
    try:
        return load(run)
    except Clip2EdgeError:
        return {}
