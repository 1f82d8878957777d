"""What quantization changed: classes that lost, and images whose answer turned."""

from __future__ import annotations

from compress.evaluate.changes import LEVEL, Changes, ClassChange
from compress.report.model.report import Report

LOSERS = 8  # classes listed per pair
INT8_VS_FP32, INT8_VS_TEACHER = "int8_vs_fp32", "int8_vs_teacher"


def losers(report: Report, pair: str) -> list[ClassChange]:
    """The classes that lost most, of a pair."""
    changes = report.changes.get(pair)
    return [row for row in changes.classes if row.difference < 0][:LOSERS] if changes else []


def change_sentence(report: Report) -> str:
    """Whether any class demonstrably lost by quantization."""
    changes = report.changes.get(INT8_VS_FP32)
    return f"Between fp32 and int8, {_moves(changes)} {_proof(changes)}" if changes else ""


def teacher_sentence(report: Report) -> str:
    """The same between the teacher and the int8 student."""
    changes = report.changes.get(INT8_VS_TEACHER)
    if not changes:
        return ""
    return f"From the teacher to the int8 student, {_moves(changes)} {_proof(changes)}"


def _moves(changes: Changes) -> str:
    down = sum(row.difference < 0 for row in changes.classes)
    up = sum(row.difference > 0 for row in changes.classes)
    return f"{down} of {changes.tested} classes lost and {up} gained."


def _proof(changes: Changes) -> str:
    """The classes whose change is more than chance, or what proof would need."""
    proven = [row for row in changes.classes if row.p_holm <= LEVEL]
    lost = [row.name for row in proven if row.difference < 0]
    gained = [row.name for row in proven if row.difference > 0]
    if not lost and not gained:
        few = ""
        if changes.smallest < changes.needed:
            few = f", and some classes have only {changes.smallest}"
        return (
            "No single class changed significantly (exact McNemar per class, corrected after "
            f"Holm); with {changes.tested} classes, {changes.needed} images of one class would "
            f"have to turn the same way{few}."
        )
    parts = [
        f"{', '.join(names)} {verb}"
        for names, verb in ((lost, "lost"), (gained, "gained"))
        if names
    ]
    return f"Significantly (exact McNemar per class, corrected after Holm): {'; '.join(parts)}."


def flip_sentence(report: Report) -> str:
    """The number of images whose answer turned, both ways."""
    changes = report.changes.get(INT8_VS_FP32)
    if not changes:
        return ""
    if not changes.lost and not changes.gained:
        return (
            f"No test image turned from right to wrong or back; {changes.moved} are wrong in "
            "both, with another answer."
        )
    return (
        f"Of {changes.n:,} test images int8 turned {changes.lost} from right to wrong and "
        f"{changes.gained} from wrong to right; {changes.moved} are wrong in both, with another "
        "answer."
    )
