"""Numbers and sentences as people read them; None is an en dash, never a zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NARROW = "\u202f"  # narrow no-break space between a number and its unit
ABSENT = "–"
COMPUTE = "compute"  # what runtime.bench.run calls a latency without decoding

FORMS: Mapping[str, str] = {  # every form of the models, in the order of tables
    "teacher": "teacher",
    "teacher_zero_shot": "teacher, zero-shot",
    "student_fp32": "student fp32",
    "student_fp16": "student fp16",
    "student_int8": "student int8",
    "student_int8_trt": "student int8, TensorRT file",
    "student_ptq": "student int8, PTQ",
}


def percent(fraction: float | None, digits: int = 1) -> str:
    """0.8912 -> "89.1 %"."""
    return ABSENT if fraction is None else f"{100 * fraction:.{digits}f}{NARROW}%"


def interval(ci95: tuple[float, float] | list[float] | None, digits: int = 1) -> str:
    """[0.86, 0.91] -> "86.0–91.0"."""
    return ABSENT if ci95 is None else f"{100 * ci95[0]:.{digits}f}–{100 * ci95[1]:.{digits}f}"


def points(difference: float | None, digits: int = 1) -> str:
    """A signed difference of accuracies: -0.012 -> "−1.2 points"."""
    if difference is None:
        return ABSENT
    value = round(100 * difference, digits) + 0.0
    sign = "−" if value < 0 else "+" if value > 0 else "±"
    return f"{sign}{abs(value):.{digits}f}{NARROW}points"


def signed_interval(ci95: tuple[float, float] | list[float] | None, digits: int = 1) -> str:
    """An interval of a difference, in points: [-0.012, 0.004] -> "−1.2 to +0.4"."""
    if ci95 is None:
        return ABSENT
    return " to ".join(
        points(value, digits).partition(NARROW)[0].removeprefix("±") for value in ci95
    )


def significant(value: float, digits: int = 3) -> str:
    """Rounded to significant digits without an exponent: 0.02134 -> "0.0213", 1234.5 -> "1,230"."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    decimals = (
        digits - 1 - math.floor(math.log10(abs(round(value, decimals))))
    )  # 0.9996 rounds up to 1.00
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def milliseconds(value: float | None) -> str:
    """0.2134 -> "0.213 ms"."""
    return ABSENT if value is None else f"{significant(value)}{NARROW}ms"


def size(value: float | None) -> str:
    """Bytes in decimal units: 153_000 -> "153 kB"."""
    if value is None:
        return ABSENT
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= 0.9995 * scale:
            return f"{significant(value / scale)}{NARROW}{unit}"
    return f"{value:,.0f}{NARROW}B"


def count(value: float | None) -> str:
    """Parameters and the like: 1_640_000 -> "1.64 M"."""
    if value is None:
        return ABSENT
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * scale:
            return f"{significant(value / scale)}{NARROW}{unit}"
    return f"{value:,.0f}"


def times(value: float | None) -> str:
    """A ratio: 8.43 -> "8.4×", 31.2 -> "31×"."""
    if value is None:
        return ABSENT
    return f"{value:.2f}×" if value < 2 else f"{value:.1f}×" if value < 20 else f"{value:,.0f}×"


def seconds(value: float | None) -> str:
    """0.42 -> "0.4 s", 187 -> "3 min 07 s", 7400 -> "2 h 03 min"."""
    if value is None:
        return ABSENT
    if value < 60:
        return f"{value:.1f}{NARROW}s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}{NARROW}min {whole % 60:02d}{NARROW}s"
    return f"{whole // 3600}{NARROW}h {whole % 3600 // 60:02d}{NARROW}min"


def p_value(p: float | None) -> str:
    """0.00003 -> "< 0.001"."""
    return (
        ABSENT if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"
    )


def shots(dataset: Mapping[str, Any]) -> str:
    """How many real training images there were: "4 shots a class", or "all 1,020 training
    images".
    """
    if dataset["shots"] == "all":
        return f"all {dataset['train_images']:,} training images"
    return f"{dataset['shots']} {'shot' if dataset['shots'] == 1 else 'shots'} a class"


def cell(words: object) -> str:
    """Words that stay in their cell of a Markdown table, and are no markup."""
    return " ".join(str(words).split()).replace("|", "\\|").replace("<", "&lt;")


def form(name: str) -> str:
    """The words for a form of a model, e.g. "student_int8" -> "student int8"."""
    return FORMS.get(name, name.replace("_", " "))


def headline(report: Mapping[str, Any]) -> str:
    """The one sentence a person should remember."""
    shipped = report["student"]["shipped"]
    sizes, speed = report["size_bytes"], report["speedup_vs_teacher"]["p50"]
    accuracy, p50 = report["accuracy"], p50_of(report, shipped)
    parts = [f"{report['student']['name']} ({form(shipped).removeprefix('student ')})"]
    if shipped in accuracy:
        parts.append(
            f"names {percent(accuracy[shipped]['top1'])} of "
            f"{report['dataset']['test_images']:,} test images right"
        )
    else:
        parts.append("is ready; without test images its accuracy is not known")
    text = " ".join(parts)
    facts = [size(sizes.get(shipped))] + ([milliseconds(p50)] if p50 else [])
    text += f", in {' and '.join(facts)}"
    if speed:
        text += f": {times(speed)} as fast as its teacher"
    if sizes.get("teacher") and sizes.get(shipped):
        text += f"{' and' if speed else ':'} {times(sizes['teacher'] / sizes[shipped])} smaller"
    if shipped in accuracy and "teacher" in accuracy:
        text += f", {_gap(accuracy[shipped]['top1'] - accuracy['teacher']['top1'])}"
    return text + "."


def _gap(difference: float) -> str:
    value = round(100 * abs(difference), 1)
    if value == 0:
        return "with the same accuracy"
    unit = "point" if value == 1 else "points"
    return f"{value:g} {unit} {'below' if difference < 0 else 'above'} its accuracy"


def p50_of(
    report: Mapping[str, Any], name: str, *, batch: int = 1, threads: int | None = None
) -> float | None:
    """The compute p50 in ms of a form at ``batch`` images and ``threads`` threads (default: the
    fewest measured).
    """
    row = compute_row(report, name, batch=batch, threads=threads)
    return row["p50_ms"] if row else None


def compute_row(
    report: Mapping[str, Any], name: str, *, batch: int = 1, threads: int | None = None
) -> Mapping[str, Any] | None:
    """The compute row of a form at ``batch`` images and ``threads`` threads (default: the fewest
    measured).
    """
    rows: list[Mapping[str, Any]] = [
        row
        for row in report["latency"]
        if row_form(row) == name and row["batch"] == batch and row["includes"] == COMPUTE
    ]
    if threads is not None:
        rows = [row for row in rows if row["threads"] == threads]
    return min(rows, key=lambda row: row["threads"], default=None)


def row_form(row: Mapping[str, Any]) -> str:
    """The form a latency row belongs to: model "student", precision "int8" -> "student_int8"."""
    return row["model"] if row["model"] == "teacher" else f"{row['model']}_{row['precision']}"
