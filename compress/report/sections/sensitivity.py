"""The part "Should every block be quantized?": cost and gain per block, and mixed models.

Its accuracy is counted on held-out views of training images, never on test images.
"""

from __future__ import annotations

from dataclasses import dataclass

from compress.report.charts import budget as plots
from compress.report.charts.budget import MixedPoint
from compress.report.model.report import Report
from compress.report.model.search import MixedVariant
from compress.report.wording import (
    ABSENT,
    NARROW,
    milliseconds,
    percent,
    plural,
    points,
    significant,
    size,
)


@dataclass(frozen=True)
class MixedRow:
    """Formatted figures of a model with some blocks in float."""

    name: str
    blocks: str
    top1: str
    p50: str
    size: str
    chosen: bool


@dataclass(frozen=True)
class BlockRow:
    """Formatted cost and gain of int8 in a block, with intervals."""

    block: str
    kept: str
    drop: str
    drop_ci95: str
    saved: str
    saved_ci95: str


def mixed_plot(report: Report) -> str:
    """Top-1 against time, or size if a variant was not timed; empty below two variants."""
    found = report.sensitivity
    if not found or len(found.front) < 2:
        return ""
    timed = all(point.p50_ms for point in found.front)
    drawn = [
        MixedPoint(
            mixed_name(point, len(found.blocks)),
            (timed and point.p50_ms) or point.size_bytes / 1e6,
            point.top1,
            i == found.chosen,
        )
        for i, point in enumerate(found.front)
    ]
    return plots.front(drawn, "latency p50, ms" if timed else "file, MB")


def mixed_name(point: MixedVariant, blocks: int) -> str:
    """A mixed model in words: all int8, 2 blocks float, all float."""
    count = len(point.float_blocks)
    if count in (0, blocks):
        return "all float" if count else "all int8"
    return f"{plural(count, 'block')} float"


def mixed_rows(report: Report) -> list[MixedRow]:
    """One row per mixed model of the front."""
    found = report.sensitivity
    if not found:
        return []
    return [
        MixedRow(
            name=mixed_name(point, len(found.blocks)),
            blocks=", ".join(point.float_blocks) or ABSENT,
            top1=percent(point.top1),
            p50=milliseconds(point.p50_ms),
            size=size(point.size_bytes),
            chosen=i == found.chosen,
        )
        for i, point in enumerate(found.front)
    ]


def block_rows(report: Report) -> list[BlockRow]:
    """One row per block, the most sensitive first."""
    found = report.sensitivity
    if not found:
        return []
    return [
        BlockRow(
            block=row.block,
            kept=row.kept,
            drop=points(-row.drop_points / 100, 2),
            drop_ci95=" to ".join(
                points(-value / 100, 2).partition(NARROW)[0]
                for value in reversed(row.drop_ci95 or ())
            ),
            saved=ABSENT if row.saved_ms is None else f"{signed(row.saved_ms)}{NARROW}ms",
            saved_ci95=" to ".join(signed(value) for value in row.saved_ci95_ms or ()),
        )
        for row in sorted(found.blocks, key=lambda row: -row.drop_points)
    ]


def signed(value: float) -> str:
    """0.0123 -> "+0.0123", -0.4 -> "−0.400"."""
    return f"{'−' if value < 0 else '+' if value > 0 else ''}{significant(abs(value))}"
