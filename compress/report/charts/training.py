"""Pictures of training: loss curves, and the time of each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compress.report.charts.svg import Frame, log_ticks, picture, polyline, rect, tag, text, ticks
from compress.report.wording import seconds, significant


def curve(history: Sequence[Mapping[str, float]], name: str) -> str:
    """Training loss (log if it falls by more than 20 times) over the steps; rate as faint area."""
    width, height = 480, 250
    frame = Frame(52, 16, width - 14, height - 40)
    steps, losses = [row["step"] for row in history], [row["loss"] for row in history]
    log = min(losses) > 0 and max(losses) / min(losses) > 20
    low, high = min(0.0, *losses), max(losses) * 1.05 or 1.0
    if log:
        low, high = min(losses) * 0.9, max(losses) * 1.1
    x, y = frame.x(0, max(steps)), frame.y(low, high, log)
    parts = []
    rates = [row.get("lr", 0.0) for row in history]
    if max(rates) > 0:
        z = frame.y(0, max(rates) * 3)
        area = " ".join(f"{x(s):.1f},{z(r):.1f}" for s, r in zip(steps, rates, strict=True))
        start, end = f"{x(steps[0]):.1f},{frame.bottom}", f"{x(steps[-1]):.1f},{frame.bottom}"
        parts.append(tag("polygon", points=f"{start} {area} {end}", class_="rate"))
    parts += [
        frame.grid_y(y, log_ticks(low, high) if log else ticks(low, high, 4), "{:g}".format),
        frame.grid_x(x, ticks(0, max(steps), 4), "{:,.0f}".format),
        frame.below("step", height - 4),
        text(f"loss{' (log)' if log else ''}", frame.right - 4, frame.top + 12, "axis", "end"),
        polyline([(x(s), y(v)) for s, v in zip(steps, losses, strict=True)], f"line {name}"),
    ]
    fall = f"from {significant(losses[0])} to {significant(losses[-1])}"
    label = f"Loss of {name} over {steps[-1]:,.0f} steps, {fall}"
    return picture(width, height, label, *parts)


def timings(parts_s: Mapping[str, float]) -> str:
    """Seconds per stage as bars."""
    row = 26
    most = max(parts_s.values(), default=0.0) or 1.0
    marks = []
    for i, (stage, spent) in enumerate(parts_s.items()):
        top, length = i * row + 6, 300 * spent / most
        marks += [
            text(stage, 78, top + 14, "tick", "end"),
            rect(88, top + 2, max(length, 1.5), row - 10, "spent", rx=2),
            text(seconds(spent), 88 + length + 8, top + 14, "tick", "start"),
        ]
    spoken = ", ".join(f"{stage} {seconds(spent)}" for stage, spent in parts_s.items())
    return picture(480, row * len(parts_s) + 8, f"Time per stage: {spoken}", *marks)
