"""Numbers as people read them; None is an en dash, never a zero."""

from __future__ import annotations

import math
from collections.abc import Mapping

NARROW = "\u202f"  # narrow no-break space between a number and its unit
ABSENT = "–"

VARIANTS: Mapping[str, str] = {  # model variant -> words, in the order of tables
    "teacher": "teacher",
    "teacher_zero_shot": "teacher, zero-shot",
    "teacher_0": "first teacher alone",
    "teacher_1": "second teacher alone",
    "teacher_2": "third teacher alone",
    "teacher_3": "fourth teacher alone",
    "student_fp32": "student fp32",
    "student_fp16": "student fp16",
    "student_int8": "student int8",
    "student_int8_trt": "student int8, TensorRT file",
    "student_ptq": "student int8, PTQ",
}


def percent(fraction: float | None, digits: int = 1) -> str:
    """0.8912 -> "89.1 %"."""
    return ABSENT if fraction is None else f"{100 * fraction:.{digits}f}{NARROW}%"


def interval(ci95: tuple[float, float] | None, digits: int = 1) -> str:
    """[0.86, 0.91] -> "86.0–91.0"."""
    return ABSENT if ci95 is None else f"{100 * ci95[0]:.{digits}f}–{100 * ci95[1]:.{digits}f}"


def points(difference: float | None, digits: int = 1) -> str:
    """A signed difference of accuracies: -0.012 -> "−1.2 points"."""
    if difference is None:
        return ABSENT
    value = round(100 * difference, digits) + 0.0
    sign = "−" if value < 0 else "+" if value > 0 else "±"
    return f"{sign}{abs(value):.{digits}f}{NARROW}points"


def signed_interval(ci95: tuple[float, float] | None, digits: int = 1) -> str:
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
    rounded = abs(round(value, decimals))  # 0.9996 becomes 1.00
    decimals = digits - 1 - math.floor(math.log10(rounded))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def milliseconds(value: float | None) -> str:
    """0.2134 -> "0.213 ms"."""
    return ABSENT if value is None else f"{significant(value)}{NARROW}ms"


def size(value: float | None) -> str:
    """Bytes in decimal units: 153_000 -> "153 kB"."""
    return _scaled(value, {"GB": 1e9, "MB": 1e6, "kB": 1e3}, f"{NARROW}B")


def count(value: float | None) -> str:
    """Parameters and the like: 1_640_000 -> "1.64 M"."""
    return _scaled(value, {"G": 1e9, "M": 1e6, "k": 1e3}, "")


def _scaled(value: float | None, units: Mapping[str, float], plain: str) -> str:
    if value is None:
        return ABSENT
    for unit, scale in units.items():
        if value >= 0.9995 * scale:
            return f"{significant(value / scale)}{NARROW}{unit}"
    return f"{value:,.0f}{plain}"


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
    if p is None:
        return ABSENT
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def millijoules(value: float | None) -> str:
    """0.4123 -> "0.412 mJ"."""
    return ABSENT if value is None else f"{significant(value)}{NARROW}mJ"


def distance(value: float | None) -> str:
    """A distance between features: three decimals, as much as half precision holds."""
    return ABSENT if value is None else f"{value:.3f}"


def cell(words: object) -> str:
    """Words that stay in their cell of a Markdown table, and are no markup."""
    return " ".join(str(words).split()).replace("|", "\\|").replace("<", "&lt;")


def variant(name: str) -> str:
    """The words for a model variant: "student_int8" -> "student int8"."""
    return VARIANTS.get(name, spaced(name))


def spaced(name: str) -> str:
    """A name in words: "art_painting" -> "art painting"."""
    return name.replace("_", " ")


def plural(count: int, one: str) -> str:
    """A count and its noun: "1 thread", "2 threads"."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"
