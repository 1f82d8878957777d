"""The head of the report: the one sentence to remember, and four figures."""

from __future__ import annotations

from dataclasses import dataclass

from compress.report.model.build import ReportDataset
from compress.report.model.report import Report
from compress.report.wording import (
    milliseconds,
    percent,
    points,
    signed_interval,
    significant,
    size,
    times,
    variant,
)


@dataclass(frozen=True)
class Tile:
    """A figure under the headline."""

    what: str
    value: str
    note: str


def headline(report: Report) -> str:
    """The one sentence a person should remember."""
    shipped, sizes, accuracy = report.shipped, report.size_bytes, report.accuracy
    own, p50, speedup = accuracy.get(shipped), report.p50_ms(shipped), report.speedup_vs_teacher.p50
    did = "is ready; without test images its accuracy is not known"
    if own:
        did = f"names {percent(own.top1)} of {report.dataset.test_images:,} test images right"
    precision = variant(shipped).removeprefix("student ")
    text = f"{report.student.name} ({precision}) {did}, in {size(sizes.get(shipped))}"
    text += f" and {milliseconds(p50)}" if p50 else ""
    text += f": {times(speedup)} as fast as its teacher" if speedup else ""
    if sizes.get("teacher") and sizes.get(shipped):
        smaller = times(sizes["teacher"] / sizes[shipped])
        text += f"{' and' if speedup else ':'} {smaller} smaller"
    if own and "teacher" in accuracy:
        text += f", {_gap(own.top1 - accuracy['teacher'].top1)}"
    return text + "."


def _gap(difference: float) -> str:
    value = round(100 * abs(difference), 1)
    unit, way = "point" if value == 1 else "points", "below" if difference < 0 else "above"
    return f"{value:g} {unit} {way} its accuracy" if value else "with the same accuracy"


def tiles(report: Report) -> list[Tile]:
    """The four figures under the headline."""
    shipped, sizes, speedup = report.shipped, report.size_bytes, report.speedup_vs_teacher
    own, teacher = report.accuracy.get(shipped), report.accuracy.get("teacher")
    against = report.paired.get(f"{shipped.removeprefix('student_')}_vs_teacher")
    gap = f": {points(against.difference)} ({signed_interval(against.ci95)})" if against else ""
    row = report.compute_row(shipped)
    stamp = f" · {row.verdict}" if row and row.verdict != "VALID" else ""
    span = "not measured"
    if speedup.ci95:
        span = "95 % CI " + " to ".join(significant(value, 2) for value in speedup.ci95)
    beside = f"teacher {percent(teacher.top1)}{gap}" if teacher else "no test images"
    p50, teacher_p50 = report.p50_ms(shipped), milliseconds(report.p50_ms("teacher"))
    return [
        Tile("top-1 accuracy", percent(own.top1) if own else "not known", beside),
        Tile("file", size(sizes.get(shipped)), f"teacher {size(sizes.get('teacher'))}"),
        Tile("latency, p50", milliseconds(p50), f"teacher {teacher_p50}{stamp}"),
        Tile("speed-up over the teacher", times(speedup.p50), span),
    ]


def shots(dataset: ReportDataset) -> str:
    """The number of real training images: "4 shots a class", "all 1,020 training images"."""
    if dataset.shots == "all":
        return f"all {dataset.train_images:,} training images"
    return f"{dataset.shots} {'shot' if dataset.shots == 1 else 'shots'} a class"
