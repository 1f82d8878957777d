"""Stage "report": report.json, validated, then report.md and report.html from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compress.engine.config import Settings
from compress.engine.stage import StageContext
from compress.engine.store import Artifact, write_json
from compress.evaluate.metrics import softmax
from compress.report.charts.pictures import contact_sheets, turned, worst_mistakes
from compress.report.collect import collect, read
from compress.report.model.report import validate
from compress.report.page import Material, render_html, render_markdown

CURVES = ("distill", "quantize")


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes the three files of the report; the facts are its headline and what ships."""
    report = build_report(ctx.settings, ctx.inputs, ctx.folder)
    return {
        "headline": report["headline"],
        "shipped": report["student"]["shipped"],
        "schema": report["schema"],
    }


def build_report(
    settings: Settings, stages: Mapping[str, Artifact], folder: Path
) -> dict[str, Any]:
    """Collects the finished stages into report.json, report.md and report.html in ``folder``, and
    returns the report.

    Raises:
        Clip2EdgeError: what was collected does not keep the contract of report.json.
    """
    report = collect(settings, stages)
    validate(report)
    write_json(folder / "report.json", report)
    report = json.loads(
        (folder / "report.json").read_text()
    )  # the pages show what the file says, in its order
    (folder / "report.md").write_text(render_markdown(report))
    (folder / "report.html").write_text(render_html(report, material(report, stages)))
    return report


def material(report: Mapping[str, Any], stages: Mapping[str, Artifact]) -> Material:
    """The pictures and training histories of the page."""
    names, data = report["dataset"]["class_names"], stages["data"]
    shots = np.load(data.path / "shots.npy", mmap_mode="r")
    synthetic = np.load(stages["generate"].path / "synthetic.npy", mmap_mode="r")
    shot_labels = [row["label"] for row in read(data, "shots.json")]
    with (stages["generate"].path / "synthetic.jsonl").open() as lines:
        made = [int(json.loads(line)["class_id"]) for line in lines]
    sheets = (
        contact_sheets(names, shots, shot_labels, synthetic, made)
        if len(shots) or len(synthetic)
        else []
    )

    mistakes, shipped = [], report["student"]["shipped"]
    tests = np.load(data.path / "test.npy", mmap_mode="r")
    keys = [row["key"] for row in read(data, "test.json")]
    if shipped in report["accuracy"]:
        with np.load(stages["bench"].path / "predictions.npz", allow_pickle=False) as stored:
            teacher = stored["teacher"].argmax(axis=1) if "teacher" in stored.files else None
            mistakes = worst_mistakes(
                names, tests, keys, stored["labels"], softmax(stored[shipped]), teacher
            )
    histories = {stage: read(stages[stage], "history.json") for stage in CURVES}
    flips = (report.get("changes") or {}).get("int8_vs_fp32", {})
    lost, gained = (
        turned(flips.get(way, ()), tests, keys) for way in ("right_to_wrong", "wrong_to_right")
    )
    return Material(sheets, mistakes, tests.shape[1], histories, lost, gained)
