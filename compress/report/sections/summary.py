"""The table that a build ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compress.report.wording import (
    count,
    form,
    interval,
    milliseconds,
    p50_of,
    percent,
    shots,
    size,
    times,
)

if TYPE_CHECKING:
    from rich.table import Table

ROWS = ("teacher", "student_fp32", "student_int8")


def summary_rows(report: dict[str, Any], names: tuple[str, ...] = ROWS) -> list[dict[str, str]]:
    """One row of formatted cells per form: form, top1, ci95, size, p50, speedup, params, mark
    (which one ships).
    """
    rows = []
    for name in names:
        if name not in report["size_bytes"] and name not in report["accuracy"]:
            continue
        accuracy = report["accuracy"].get(name, {})
        speed = report.get("speedups", {}).get(f"{name}_vs_teacher", {})
        teacher = name.startswith("teacher")
        params = (
            report["teacher"].get("image_params") or report["teacher"]["params"]
            if teacher
            else report["student"]["params"]
        )
        rows.append(
            {
                "key": name,
                "form": form(name),
                "top1": percent(accuracy.get("top1")),
                "ci95": interval(accuracy.get("ci95")),
                "size": size(report["size_bytes"].get(name)),
                "p50": milliseconds(p50_of(report, name)),
                "speedup": "1×" if name == "teacher" else times(speed.get("p50")),
                "params": count(params),
                "mark": "ships" if name == report["student"].get("shipped") else "",
            }
        )
    return rows


def summary_table(report: dict[str, Any]) -> Table:
    """The summary for a terminal: teacher, student fp32 and student int8."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    data = report["dataset"]
    title = (
        f"{data['name']} · {data['classes']} classes · {shots(data)} · "
        f"{data['test_images']:,} test images"
    )
    reason = report["verdicts"]["ship"]["reason"]
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=reason,
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", no_wrap=True)
    for heading in ("top-1", "95 % CI", "size", "p50", "speed-up", "params"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", style="bold green", no_wrap=True)
    for row in summary_rows(report):
        cells = [
            row[key] for key in ("form", "top1", "ci95", "size", "p50", "speedup", "params", "mark")
        ]
        table.add_row(*cells, style="bold" if row["mark"] else None)
    return table
