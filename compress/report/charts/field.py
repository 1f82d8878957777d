"""Accuracy against the severity of common corruptions: a small plot for each kind."""

from __future__ import annotations

from collections.abc import Sequence

from compress.report.charts import svg
from compress.report.charts.svg import Frame
from compress.report.model.confidence import ReportStress, Severity, Stressed
from compress.report.wording import percent

NAMES = {
    "brightness": "brighter",
    "blur": "blur",
    "rotation": "rotated",
    "jpeg": "JPEG",
    "noise": "noise",
}
ACROSS = {960: 5, 380: 2}  # width of the drawing -> plots in a row
TALL = 190  # of one plot, its names included


def stress_plot(stress: ReportStress, variant: str, width: int) -> str:
    """Severity 0 is the image as it is; the thin line is the share that passes as known."""
    across = ACROSS[width]
    step = (width - 24) / across
    parts = []
    for index, (kind, rows) in enumerate(stress.kinds.items()):
        left = 34 + (index % across) * step
        top = 30 + (index // across) * TALL
        frame = Frame(left, top, left + step - 46, top + TALL - 76)
        parts.append(_panel(frame, NAMES.get(kind, kind), stress.clean, rows, variant))
    lines = -(-len(stress.kinds) // across)
    falls = (
        f"{NAMES.get(kind, kind)} {percent(rows[-1].top1, 0)}"
        for kind, rows in stress.kinds.items()
        if rows
    )
    spoken = f"Top-1 falls from {percent(stress.clean.top1, 0)} to, at severity 5: "
    return svg.picture(width, lines * TALL, spoken + ", ".join(falls), *parts)


def _panel(frame: Frame, name: str, clean: Stressed, rows: Sequence[Severity], variant: str) -> str:
    every: list[Stressed] = [clean, *rows]
    x, y = frame.x(0, max(len(every) - 1, 1)), frame.y(0, 1)
    marks = [0.0, 0.5, 1.0]
    known = [(x(i), y(row.known)) for i, row in enumerate(every) if row.known is not None]
    tips = [
        svg.circle(
            (x(i), y(row.top1)),
            3.2,
            f"disc {variant}",
            svg.title(
                f"severity {i}: top-1 {percent(row.top1)}"
                + ("" if row.known is None else f", known {percent(row.known)}")
            ),
        )
        for i, row in enumerate(every)
    ]
    return "".join(
        [
            svg.text(name, frame.left, frame.top - 12, "name small", "start"),
            frame.grid_y(y, marks, svg.in_percent(marks)),
            *(svg.text(str(i), x(i), frame.bottom + 17) for i in range(len(every))),
            svg.polyline(known, "line ideal") if len(known) == len(every) else "",
            svg.polyline(
                [(x(i), y(row.top1)) for i, row in enumerate(every)], f"line ecdf {variant}"
            ),
            *tips,
        ]
    )
