"""Stage "report": report.json, validated, then report.md and report.html from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.bench.artifact import BenchArtifact
from compress.data.artifact import TEST, DataArtifact
from compress.distill.artifact import DistillArtifact
from compress.engine.config import Settings
from compress.engine.stage import StageContext
from compress.engine.store import Artifact
from compress.evaluate.metrics import softmax
from compress.evaluate.temperature import at_temperature
from compress.generate.artifact import GenerateArtifact
from compress.quantize.artifact import QuantizeArtifact
from compress.report.artifact import ReportArtifact
from compress.report.charts.pictures import contact_sheets, noted, passed, turned, worst_mistakes
from compress.report.collect import collect
from compress.report.model.report import Report, parse
from compress.report.page import Material, render_html, render_markdown


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes the three files of the report; the facts are its headline and what ships."""
    report = parse(build_report(ctx.settings, ctx.inputs, ctx.folder))
    return {"headline": report.headline, "shipped": report.shipped, "schema": report.schema_}


def build_report(
    settings: Settings, stages: Mapping[str, Artifact], folder: Path
) -> dict[str, Any]:
    """Collects the finished stages into the three files in ``folder``; gives report.json.

    Raises: Clip2EdgeError: what was collected does not keep the contract of report.json.
    """
    files = ReportArtifact(folder)
    files.write_json(collect(settings, stages))
    plain = files.read()  # the pages show what the file says, in its order
    report = parse(plain)
    files.write_pages(render_markdown(report), render_html(report, material(report, stages)))
    return plain


def material(report: Report, stages: Mapping[str, Artifact]) -> Material:
    """The pictures and training histories of the page."""
    folders = {name: stage.path for name, stage in stages.items()}
    data, synthetic = DataArtifact(folders["data"]), GenerateArtifact(folders["generate"])
    names, shots, tests = report.dataset.class_names, data.shots, data.images(TEST)
    mistakes = []
    if report.shipped in report.accuracy:
        predictions = BenchArtifact(folders["bench"]).predictions()
        teacher = predictions.logits.get("teacher")
        answers = None if teacher is None else teacher.argmax(axis=1)
        honest = report.accuracy[report.shipped].calibrated
        temperature = honest.temperature if honest else 1.0
        student = softmax(at_temperature(predictions.logits[report.shipped], temperature))
        mistakes = worst_mistakes(names, tests, student, answers)
    flips = report.changes.get("int8_vs_fp32")
    told, bench = report.confidence.rejection, BenchArtifact(folders["bench"])
    seen = report.images
    return Material(
        sheets=contact_sheets(names, shots, synthetic.images, synthetic.classes),
        mistakes=mistakes,
        image_size=tests.pixels.shape[1],
        histories={
            "distill": DistillArtifact(folders["distill"]).history(),
            "quantize": QuantizeArtifact(folders["quantize"]).history(),
        },
        right_to_wrong=turned(flips.right_to_wrong, tests) if flips else (),
        wrong_to_right=turned(flips.wrong_to_right, tests) if flips else (),
        relabel=noted(seen.relabel, shots) if seen else (),
        outliers=noted(seen.outliers, shots) if seen else (),
        passed=passed(told.pictures, bench.passed()) if told else (),
    )
