"""The table that a build ends with, and the first one of the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.evaluate.claims import too_few
from compress.report import wording
from compress.report.charts.accuracy import Point, accuracy_latency
from compress.report.model.report import Report
from compress.report.sections.headline import shots
from runtime.errors import harmless

if TYPE_CHECKING:
    from rich.table import Table

ROWS = ("teacher", "student_fp32", "student_int8")


@dataclass(frozen=True)
class SummaryRow:
    """Formatted figures of a model variant; ``mark`` is "ships" for the bundle's default."""

    key: str
    model: str
    top1: str
    ci95: str
    macro_f1: str
    ece: str
    size: str
    p50: str
    speedup: str
    params: str
    mark: str


def summary_rows(report: Report, names: Iterable[str] = wording.VARIANTS) -> list[SummaryRow]:
    """One row per model variant that the report knows."""
    known = {*report.size_bytes, *report.accuracy}
    return [_row(report, name) for name in names if name in known]


def _row(report: Report, name: str) -> SummaryRow:
    accuracy, speedup = report.accuracy.get(name), report.speedups.get(f"{name}_vs_teacher")
    return SummaryRow(
        key=name,
        model=wording.variant(name),
        top1=wording.percent(accuracy.top1 if accuracy else None),
        ci95=wording.interval(accuracy.ci95 if accuracy else None),
        macro_f1=wording.percent(accuracy.macro_f1 if accuracy else None),
        ece=wording.percent(accuracy.ece if accuracy else None),
        size=wording.size(report.size_bytes.get(name)),
        p50=wording.milliseconds(report.p50_ms(name)),
        speedup="1×" if name == "teacher" else wording.times(speedup.p50 if speedup else None),
        params=wording.count(_params(report, name)),
        mark="ships" if name == report.shipped else "",
    )


def _params(report: Report, name: str) -> int | None:
    """Parameters of a variant's network; None for a teacher of several that an old report lacks."""
    if not name.startswith("teacher"):
        return report.student.params
    number = name.removeprefix("teacher_")
    if not number.isdecimal():
        return report.teacher.image_params or report.teacher.params
    members = report.teacher.members[int(number) :]
    return members[0].image_params or members[0].params if members else None


def accuracy_plots(report: Report) -> list[str]:
    """Top-1 against latency for wide and narrow pages; empty if no variant has both."""
    points = [
        Point(name, p50, accuracy.top1, accuracy.ci95, report.size_bytes[name])
        for name in wording.VARIANTS
        if (accuracy := report.accuracy.get(name))
        and name in report.size_bytes
        and (p50 := report.p50_ms(name)) is not None
    ]
    return [accuracy_latency(points), accuracy_latency(points, 380, 420)] if points else []


def summary_table(report: Report) -> Table:
    """The summary for a terminal: teacher, student fp32 and student int8."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    data = report.dataset
    title = (
        f"{data.name} · {data.classes} classes · {shots(data)} · {data.test_images:,} test images"
    )
    caption = [report.verdicts.ship.reason]
    if few := too_few(data.test_images):
        caption.append(f"{few}.")
    table = Table(
        title=Text(harmless(title)),  # no markup: a data set may be called "[bold]"
        title_justify="left",
        title_style="bold",
        caption=Text(harmless("\n".join(caption))),
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", no_wrap=True)
    for heading in ("top-1", "95 % CI", "size", "p50", "speed-up", "params"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", style="bold green", no_wrap=True)
    for row in summary_rows(report, ROWS):
        figures = (row.top1, row.ci95, row.size, row.p50, row.speedup, row.params)
        table.add_row(row.model, *figures, row.mark, style="bold" if row.mark else None)
    return table
