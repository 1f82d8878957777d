"""A comparison as one self-contained page in the style of the report."""

from __future__ import annotations

from pathlib import Path

from compress.compare import sentences
from compress.compare.runs import Comparison, what
from compress.engine.versions import versions
from compress.report.charts.accuracy import Point, accuracy_latency
from compress.report.charts.svg import both_widths
from compress.report.page import environment, style

TEMPLATES = Path(__file__).with_name("templates")
FIRST, OTHERS = "student_fp32", "student_int8"  # the colors of their discs


def render_html(comparison: Comparison) -> str:
    """One page that asks for nothing else."""
    template = environment(True, TEMPLATES).get_template("comparison.html.j2")
    said = ["", *(sentences.difference(found) for found in comparison.against)]
    return template.render(
        runs=list(zip(comparison.runs, map(what, comparison.runs), said, strict=True)),
        style=style(),
        plots=plots(comparison),
        remarks=sentences.remarks(comparison),
        version=versions().get("clip2edge", ""),
    )


def plots(comparison: Comparison) -> list[tuple[str, str]]:
    """Accuracy against latency for wide and narrow pages; empty if the times do not compare."""
    points = []
    for run in comparison.runs:
        report, shipped = run.report, run.report.shipped
        accuracy, p50 = report.accuracy.get(shipped), report.p50_ms(shipped)
        bytes_ = report.size_bytes.get(shipped)
        if accuracy and p50 and bytes_:
            color = FIRST if run is comparison.runs[0] else OTHERS
            points.append(Point(color, p50, accuracy.top1, accuracy.ci95, bytes_, run.name))
    if len(points) < 2 or len(comparison.machines) > 1:
        return []
    return both_widths(lambda width: accuracy_latency(points, width))
