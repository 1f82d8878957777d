"""What quantization changed, in rows and in words: classes that lost, images that turned. From
report.json alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.report.wording import p_value, percent, points

LOSERS = 8  # classes listed per pair
LEVEL = 0.05
PAIR = "int8_vs_fp32"


def view(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates ask for about changes."""
    return {
        "change_sentence": change_sentence(report),
        "change_rows": change_rows(report, PAIR),
        "teacher_change_sentence": teacher_sentence(report),
        "teacher_change_rows": change_rows(report, "int8_vs_teacher"),
        "flip_sentence": flip_sentence(report),
    }


def change_rows(report: Mapping[str, Any], pair: str) -> list[dict[str, Any]]:
    """The classes that lost most, and those that gained significantly, of a pair: name, n, before,
    after, ..., p.
    """
    found = (report.get("changes") or {}).get(pair)
    if not found:
        return []
    losers = [row for row in found["classes"] if row["difference"] < 0][:LOSERS]
    return [_row(row) for row in losers]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "n": row["n"],
        "before": percent(row["second"], 0),
        "after": percent(row["first"], 0),
        "change": points(row["difference"]),
        "lost": row["lost"],
        "gained": row["gained"],
        "p": p_value(row["p"]),
        "p_holm": p_value(row["p_holm"]),
        "significant": row["p_holm"] <= LEVEL,
    }


def change_sentence(report: Mapping[str, Any]) -> str:
    """Whether any class demonstrably lost by quantization."""
    found = (report.get("changes") or {}).get(PAIR)
    if not found:
        return ""
    return f"Between fp32 and int8, {_moves(found)} {_proof(found)}"


def teacher_sentence(report: Mapping[str, Any]) -> str:
    """The same between the teacher and the int8 student."""
    found = (report.get("changes") or {}).get("int8_vs_teacher")
    return f"From the teacher to the int8 student, {_moves(found)} {_proof(found)}" if found else ""


def _moves(found: Mapping[str, Any]) -> str:
    rows = found["classes"]
    down, up = (
        sum(row["difference"] < 0 for row in rows),
        sum(row["difference"] > 0 for row in rows),
    )
    return f"{down} of {found['tested']} classes lost and {up} gained."


def _proof(found: Mapping[str, Any]) -> str:
    """The classes whose change is more than chance, or what it would have taken."""
    rows = found["classes"]
    lost = [row["name"] for row in rows if row["p_holm"] <= LEVEL and row["difference"] < 0]
    gained = [row["name"] for row in rows if row["p_holm"] <= LEVEL and row["difference"] > 0]
    if not lost and not gained:
        smallest = found["smallest"]
        few = "" if smallest >= found["needed"] else f", and some classes have only {smallest}"
        return (
            "No single class changed significantly (exact McNemar per class, corrected after "
            "Holm); "
            f"with {found['tested']} classes, {found['needed']} images of one class would "
            f"have to turn the same way{few}."
        )
    told = [
        f"{', '.join(names)} {verb}"
        for names, verb in ((lost, "lost"), (gained, "gained"))
        if names
    ]
    return f"Significantly (exact McNemar per class, corrected after Holm): {'; '.join(told)}."


def flip_sentence(report: Mapping[str, Any]) -> str:
    """How many images turned, both ways."""
    found = (report.get("changes") or {}).get(PAIR)
    if not found:
        return ""
    if not found["lost"] and not found["gained"]:
        return (
            f"No test image turned from right to wrong or back; {found['moved']} are wrong "
            "in both, with another answer."
        )
    return (
        f"Of {found['n']:,} test images int8 turned {found['lost']} from right to wrong and "
        f"{found['gained']} from wrong to "
        f"right; {found['moved']} are wrong in both, with another answer."
    )
