"""What was measured, for the model card: accuracy in the bundle's own, speed beside it.

The same build gives the same bundle, so what a clock says cannot be part of it: ``card.md`` of a
run is the bundle's README.md with the time and the memory on the machines that were measured.
"""

from __future__ import annotations

from pathlib import Path

from compress.report.model.report import Report, variant_of
from compress.report.sections import devices, headline
from compress.report.wording import cell, interval, milliseconds, percent, size, variant
from export.bundle.files import CARD
from runtime.files.atomic import atomic

FILE = "card.md"
LIMITS = "\n## Limits\n"  # of the bundle's card: what is measured stands before it
SHIPPED = ("student_int8", "student_fp32")


def with_accuracy(card: str, report: Report) -> str:
    """``card`` with the accuracy of the bundle's files: figures that every build repeats."""
    names = (*SHIPPED, "teacher")
    measured = {name: report.accuracy[name] for name in names if name in report.accuracy}
    if not measured:
        return _before_limits(card, "## Accuracy\n\nNot measured: there were no test images.\n")
    rows = [
        f"| {variant(name)} | {percent(one.top1)} | {interval(one.ci95)} | {percent(one.macro_f1)} "
        f"| {percent(one.ece)} |"
        for name, one in measured.items()
    ]
    lines = [
        "## Accuracy\n",
        f"On {headline.images_tested(report)} that no part of the build saw.\n",
        "| model | top-1 | 95 % CI | macro F1 | ECE |",
        "|---|--:|--:|--:|--:|",
        *rows,
        "",
    ]
    for name in SHIPPED:
        against = report.paired.get(f"{name.removeprefix('student_')}_vs_teacher")
        if against:
            lines.append(f"{variant(name)}: {headline.gap(against)}.")
    if told := headline.stand_in(report):
        lines += ["", told]
    lines += ["", "Time and memory belong to a machine: `compress bench` measures them on yours."]
    return _before_limits(card, "\n".join(lines) + "\n")


def with_speed(card: str, report: Report) -> str:
    """``card`` with what the machines of a report measured."""
    lines = ["## Speed\n", "One image a call, without decoding.\n"]
    for number, machine in enumerate(devices.machines(report)):
        rows = machine.compute_rows()
        if rows:
            built = "" if number else (report.environment.date or "")[:10]
            where = f"**{cell(machine.name)}**: {cell(devices.conditions(machine))} {built}"
            lines += [
                f"{where.rstrip()}\n",
                "| model | engine | p50 | p99 | over teacher | end to end | memory | series |",
                "|---|---|--:|--:|--:|--:|--:|---|",
            ]
        for row in rows:
            figures = (
                variant(variant_of(row)),
                devices.place(row),
                milliseconds(row.p50_ms),
                milliseconds(row.p99_ms),
                machine.over_teacher(row),
                milliseconds(machine.end_to_end_ms(row)),
                size(row.peak_rss_bytes),
                row.verdict,
            )
            lines.append(f"| {' | '.join(map(cell, figures))} |")
        lines.append("")
    lines += devices.unequal(report)
    return _before_limits(card, "\n".join(lines).rstrip() + "\n")


def write_card(folder: Path, bundle: Path, report: Report) -> None:
    """Writes ``card.md`` into ``folder``; nothing where the bundle has no card."""
    if (bundle / CARD).is_file():
        text = with_speed((bundle / CARD).read_text(encoding="utf-8"), report)
        with atomic(folder / FILE) as whole:
            whole.write_text(text, encoding="utf-8")


def _before_limits(card: str, section: str) -> str:
    before, mark, limits = card.partition(LIMITS)
    return f"{before.rstrip()}\n\n{section}{mark}{limits}"
