"""The part "Should every block be quantized?": cost and gain per block, and mixed models.

Its accuracy is counted on held-out views of training images, never on test images.
"""

from __future__ import annotations

from compress.report.charts import budget as plots
from compress.report.charts.budget import MixedPoint
from compress.report.model.report import Report
from compress.report.model.search import MixedVariant, SensitivityBlock
from compress.report.wording import ABSENT, NARROW, plural, points, significant


def mixed_plot(report: Report) -> str:
    """Top-1 against time, or size if a variant was not timed; empty below two variants."""
    found = report.sensitivity
    if not found or len(found.front) < 2:
        return ""
    timed, drawn = all(point.p50_ms for point in found.front), []
    for i, point in enumerate(found.front):
        cost = (timed and point.p50_ms) or point.size_bytes / 1e6
        name = mixed_name(point, len(found.blocks))
        drawn.append(MixedPoint(name, cost, point.top1, i == found.chosen))
    return plots.front(drawn, "latency p50, ms" if timed else "file, MB")


def mixed_name(point: MixedVariant, blocks: int) -> str:
    """A mixed model in words: all int8, 2 blocks float, all float."""
    count = len(point.float_blocks)
    if count in (0, blocks):
        return "all float" if count else "all int8"
    return f"{plural(count, 'block')} float"


def blocks(report: Report) -> list[SensitivityBlock]:
    """The blocks, the most sensitive first."""
    rows = report.sensitivity.blocks if report.sensitivity else []
    return sorted(rows, key=lambda row: -row.drop_points)


def change_interval(block: SensitivityBlock) -> str:
    """The interval of top-1 in int8, in points: "−0.50 to −0.10"."""
    ends = [points(-value / 100, 2) for value in reversed(block.drop_ci95 or ())]
    return " to ".join(words.partition(NARROW)[0] for words in ends)


def saved(block: SensitivityBlock) -> str:
    """The time that int8 saves."""
    return ABSENT if block.saved_ms is None else f"{signed(block.saved_ms)}{NARROW}ms"


def saved_interval(block: SensitivityBlock) -> str:
    """Its interval in ms."""
    return " to ".join(map(signed, block.saved_ci95_ms or ()))


def signed(value: float) -> str:
    """0.0123 -> "+0.0123", -0.4 -> "−0.400"."""
    return f"{'−' if value < 0 else '+' if value > 0 else ''}{significant(abs(value))}"
