"""The part "Should every block be quantized?": cost and gain per block, and the mixtures of int8
and float.

From report.json["sensitivity"] alone. Its accuracy is counted on held-out views of training images,
never on test images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.report.charts import budget as plots_budget
from compress.report.charts.budget import Mixture
from compress.report.wording import ABSENT, NARROW, milliseconds, percent, points, significant, size


def view(report: Mapping[str, Any], drawn: bool = True) -> dict[str, Any]:
    """What the templates ask for about mixtures; empty rows where nobody looked."""
    from markupsafe import Markup

    told = report.get("sensitivity")
    found: dict[str, Any] = {
        "mixture_rows": mixture_rows(report),
        "block_rows": block_rows(report),
        "mixtures": None,
    }
    if drawn and told and len(told["front"]) > 1:
        timed = all(point["p50_ms"] for point in told["front"])
        mixed = [
            Mixture(
                mixture_name(point, len(told["blocks"])),
                point["p50_ms"] if timed else point["size_bytes"] / 1e6,
                point["top1"],
                i == told["chosen"],
            )
            for i, point in enumerate(told["front"])
        ]
        found["mixtures"] = Markup(
            plots_budget.front(mixed, "latency p50, ms" if timed else "file, MB")
        )
    return found


def mixture_name(point: Mapping[str, Any], blocks: int) -> str:
    """A mixture in words: all int8, 2 blocks float, all float."""
    count = len(point["float_blocks"])
    if count in (0, blocks):
        return "all float" if count else "all int8"
    return f"{count} {'block' if count == 1 else 'blocks'} float"


def mixture_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per mixture of the front."""
    told = report.get("sensitivity") or {"front": [], "blocks": [], "chosen": None}
    return [
        {
            "name": mixture_name(point, len(told["blocks"])),
            "blocks": ", ".join(point["float_blocks"]) or ABSENT,
            "top1": percent(point["top1"]),
            "p50": milliseconds(point["p50_ms"]),
            "size": size(point["size_bytes"]),
            "chosen": i == told["chosen"],
        }
        for i, point in enumerate(told["front"])
    ]


def block_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per block, the most sensitive first: block, points lost in int8, ms saved, their
    intervals, kept.
    """
    told = report.get("sensitivity")
    rows = sorted(told["blocks"], key=lambda row: -row["drop_points"]) if told else []
    return [
        {
            "block": row["block"],
            "kept": row["kept"],
            "drop": points(-row["drop_points"] / 100, 2),
            "drop_ci95": " to ".join(
                points(-v / 100, 2).partition(NARROW)[0]
                for v in reversed(row.get("drop_ci95") or ())
            ),
            "saved": ABSENT if row["saved_ms"] is None else f"{signed(row['saved_ms'])}{NARROW}ms",
            "saved_ci95": " to ".join(signed(v) for v in row.get("saved_ci95_ms") or ()),
        }
        for row in rows
    ]


def signed(value: float) -> str:
    """0.0123 -> "+0.0123", -0.4 -> "−0.400"."""
    return f"{'−' if value < 0 else '+' if value > 0 else ''}{significant(abs(value))}"
