"""What quantization changed: classes that lost, and images whose answer turned."""

from __future__ import annotations

from compress.evaluate.changes import LEVEL, ClassChange
from compress.report.model.report import Report

LOSERS = 8  # classes listed per pair
INT8_VS_FP32, INT8_VS_TEACHER = "int8_vs_fp32", "int8_vs_teacher"


def losers(report: Report, pair: str) -> list[ClassChange]:
    """The classes that lost most, of a pair."""
    changes = report.changes.get(pair)
    return [row for row in changes.classes if row.difference < 0][:LOSERS] if changes else []


def change_sentence(report: Report) -> str:
    """Whether any class demonstrably lost by quantization."""
    return _moved(report, INT8_VS_FP32, "Between fp32 and int8")


def teacher_sentence(report: Report) -> str:
    """The same between the teacher and the int8 student."""
    return _moved(report, INT8_VS_TEACHER, "From the teacher to the int8 student")


def _moved(report: Report, pair: str, between: str) -> str:
    """How many classes changed; which of them by more than chance, or what proof would need."""
    changes = report.changes.get(pair)
    if not changes:
        return ""
    down = sum(row.difference < 0 for row in changes.classes)
    up = sum(row.difference > 0 for row in changes.classes)
    text = f"{between}, {down} of {changes.tested} classes lost and {up} gained."
    proven = [row for row in changes.classes if row.p_holm <= LEVEL]
    names = {
        "lost": ", ".join(row.name for row in proven if row.difference < 0),
        "gained": ", ".join(row.name for row in proven if row.difference > 0),
    }
    proof = "; ".join(f"{listed} {verb}" for verb, listed in names.items() if listed)
    if proof:
        return f"{text} Significantly (exact McNemar per class, corrected after Holm): {proof}."
    few = f", and some classes have only {changes.smallest}"
    return (
        f"{text} No single class changed significantly (exact McNemar per class, corrected after "
        f"Holm); with {changes.tested} classes, {changes.needed} images of one class would have to "
        f"turn the same way{few if changes.smallest < changes.needed else ''}."
    )


def flip_sentence(report: Report) -> str:
    """The number of images whose answer turned, both ways."""
    changes = report.changes.get(INT8_VS_FP32)
    if not changes:
        return ""
    text = "No test image turned from right to wrong or back"
    if changes.lost or changes.gained:
        text = f"Of {changes.n:,} test images int8 turned {changes.lost} from right to wrong and "
        text += f"{changes.gained} from wrong to right"
    are = "is" if changes.moved == 1 else "are"
    return f"{text}; {changes.moved} {are} wrong in both, with another answer."
