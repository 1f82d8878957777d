"""Pictures of accuracy, confidence and training as inline SVG: functions of plain values.

Every drawing carries a sentence for screen readers, and a table of the page has the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compress.evaluate.metrics import ReliabilityBin
from compress.report.charts.labels import Box, free
from compress.report.charts.svg import Frame, log_ticks, picture, tag, text, ticks, title
from compress.report.wording import milliseconds, percent, seconds, significant, size, variant


@dataclass(frozen=True)
class Point:
    """A model variant: p50 in ms, top-1 as a fraction with its interval, file size in bytes."""

    name: str
    p50_ms: float
    top1: float
    ci95: tuple[float, float]
    bytes: int


def accuracy_latency(points: Sequence[Point], width: int = 960, height: int = 400) -> str:
    """Top-1 against p50 (log), the area of a disc grows with the file: up left is better."""
    label = "; ".join(
        f"{variant(p.name)} {percent(p.top1)} at {milliseconds(p.p50_ms)}" for p in points
    )
    frame = Frame(54, 18, width - 18, height - 44)
    speeds = [p.p50_ms for p in points]
    spread = max(max(speeds) / min(speeds), 1.5)
    x = frame.x(
        min(speeds) / spread**0.14, max(speeds) * spread ** (0.3 if width < 600 else 0.16), log=True
    )
    lows, highs = min(p.ci95[0] for p in points), max(p.ci95[1] for p in points)
    margin = max(0.3 * (highs - lows), 0.01)
    bottom, top = max(lows - margin, 0.0), min(highs + margin, 1.0)
    y = frame.y(bottom, top)
    low_x, high_x = min(speeds) / spread**0.14, max(speeds) * spread**0.16
    y_ticks, x_ticks = (
        ticks(bottom, top, 5),
        log_ticks(low_x, high_x) or [significant_tick(min(speeds))],
    )
    digits = 0 if all(abs(100 * v - round(100 * v)) < 1e-6 for v in y_ticks) else 1
    parts = [
        frame.grid_y(y, y_ticks, lambda v: f"{100 * v:.{digits}f}"),
        frame.grid_x(x, x_ticks, lambda v: f"{v:g}"),
        text(
            "latency p50, ms (log): one image, compute only",
            (frame.left + frame.right) / 2,
            height - 6,
            "axis",
        ),
        text("top-1, %", frame.left + 6, frame.top + 12, "axis", anchor="start"),
    ]
    by_name = {p.name: p for p in points}
    if "teacher" in by_name and "student_int8" in by_name:
        a, b = by_name["teacher"], by_name["student_int8"]
        parts.append(
            tag(
                "line", x1=x(a.p50_ms), y1=y(a.top1), x2=x(b.p50_ms), y2=y(b.top1), class_="journey"
            )
        )
    largest = max(p.bytes for p in points)
    taken = [
        _around(p, x(p.p50_ms), y(p.ci95[0]), y(p.ci95[1]), y(p.top1), largest) for p in points
    ]
    for p in sorted(
        points, key=lambda p: (p.name != "student_ptq", -p.bytes)
    ):  # what ships is never hidden
        parts.append(_disc(p, x(p.p50_ms), y(p.top1), y(p.ci95[0]), y(p.ci95[1]), largest))
    for p in sorted(points, key=lambda p: -p.top1):
        words = f"{percent(p.top1)} · {milliseconds(p.p50_ms)} · {size(p.bytes)}"
        radius = _radius(p.bytes, largest)
        box = free(x(p.p50_ms), y(p.top1), radius, 6.4 * len(words), taken, frame)
        taken.append(box)
        parts += [
            text(variant(p.name), box[0], box[1] + 13, "name", "start"),
            text(words, box[0], box[1] + 29, "tick", "start"),
        ]
    return picture(width, height, f"Accuracy against latency: {label}", *parts)


def significant_tick(value: float) -> float:
    """A value rounded to one significant digit."""
    power = 10.0 ** math.floor(math.log10(value))
    return round(value / power) * power


def reliability(table: Sequence[ReliabilityBin], name: str, ece: float) -> str:
    """Accuracy per confidence bin against perfect calibration, above the images per bin."""
    width, height = 320, 340
    frame, below = Frame(40, 14, width - 10, 250), Frame(40, 262, width - 10, 304)
    x, y = frame.x(0, 1), frame.y(0, 1)
    most = max(row.count for row in table) or 1
    total = sum(row.count for row in table)
    share = below.y(0, most)
    marks = [0.0, 0.25, 0.5, 0.75, 1.0]
    parts = [frame.grid_y(y, marks, lambda v: f"{100 * v:.0f}")]
    for row in table:
        left, wide = x(row.low) + 1, x(row.high) - x(row.low) - 2
        parts.append(
            tag(
                "rect",
                x=left,
                y=share(row.count),
                width=wide,
                height=below.bottom - share(row.count),
                class_="mass",
            )
        )
        if row.accuracy is None or row.confidence is None:
            continue
        tip = title(
            f"confidence {percent(row.low, 0)} to {percent(row.high, 0)}: {row.count} images, "
            f"accuracy {percent(row.accuracy)}, mean confidence {percent(row.confidence)}"
        )
        high, low = max(row.accuracy, row.confidence), min(row.accuracy, row.confidence)
        bar = tag(
            "rect",
            x=left,
            y=y(row.accuracy),
            width=wide,
            height=frame.bottom - y(row.accuracy),
            class_=f"fill {name}",
        )
        gap = tag(
            "rect", x=left, y=y(high), width=wide, height=max(y(low) - y(high), 0.5), class_="gap"
        )
        parts.append(tag("g", tip, bar, gap, opacity=0.45 if row.count < 5 else None))
    parts += [
        tag("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="ideal"),
        text("accuracy, %", frame.left + 6, frame.top + 10, "axis", anchor="start"),
        below.grid_x(x, marks, lambda v: f"{100 * v:.0f}"),
        text("confidence, %", (frame.left + frame.right) / 2, height - 4, "axis"),
    ]
    label = (
        f"Reliability of {variant(name)}: expected calibration error {percent(ece)} over "
        f"{total} images"
    )
    return picture(width, height, label, *parts)


def named(names: Sequence[str]) -> bool:
    """Whether the names fit beside the rows of a confusion matrix; otherwise classes are numbered
    from 1.
    """
    return len(names) <= 32 and max(len(name) for name in names) <= 20


def confusion(cells: Sequence[Sequence[int]], names: Sequence[str], shown: str) -> str:
    """Heat map, row = true class, column = predicted class; color = share of the row. Wrong cells
    have their own hue.

    Args:
        cells: ``[true, predicted, count]`` of every cell that is not zero.
    """
    k = len(names)
    rows: dict[int, int] = {}
    for true, _, count in cells:
        rows[true] = rows.get(true, 0) + count
    longest = max(len(name) for name in names)
    labels = named(names)
    edge = 560.0
    margin = 7.0 * longest + 12 if labels else 24
    step = (edge - margin) / k
    inset = step * 0.04 if k <= 50 else 0.0
    parts = [
        tag("rect", x=margin, y=margin, width=edge - margin, height=edge - margin, class_="board")
    ]
    for true, predicted, count in cells:
        share = count / rows[true]
        wrong = true != predicted
        opacity = (0.25 if wrong else 0.1) + (0.75 if wrong else 0.9) * share
        where = {
            "x": margin + predicted * step + inset,
            "y": margin + true * step + inset,
            "width": step - 2 * inset,
            "height": step - 2 * inset,
        }
        tip = title(f"{names[true]} → {names[predicted]}: {count} of {rows[true]}")
        parts.append(
            tag(
                "rect",
                tip,
                **where,
                class_="wrong" if wrong else "right",
                fill_opacity=round(opacity, 2),
            )
        )
    if labels:
        font = max(min(step * 0.62, 13), 7)
        for i, name in enumerate(names):
            at = margin + (i + 0.5) * step
            style = f"font-size:{font:.1f}px"
            parts.append(text(name, margin - 6, at + font * 0.35, anchor="end", style=style))
            turn = f"rotate(-90 {at + font * 0.35:.1f} {margin - 6:.1f})"
            parts.append(
                text(
                    name, at + font * 0.35, margin - 6, anchor="start", transform=turn, style=style
                )
            )
    else:
        for i in [
            0,
            *(v - 1 for v in range(0, k + 1, 5 if k <= 40 else 10 if k <= 120 else 100) if v),
        ]:
            if i < k:
                at = margin + (i + 0.5) * step
                parts += [
                    text(i + 1, margin - 5, at + 4, anchor="end"),
                    text(i + 1, at, margin - 7),
                ]
    correct = sum(count for true, predicted, count in cells if true == predicted)
    label = (
        f"Confusion matrix of {variant(shown)}: {correct} of {sum(rows.values())} images "
        f"on the diagonal, {k} classes"
    )
    return picture(edge, edge, label, *parts, class_="square")


def curve(history: Sequence[Mapping[str, float]], name: str) -> str:
    """Training loss against the step (log where it falls by more than 20 times), the learning rate
    as a faint area.
    """
    width, height = 480, 250
    frame = Frame(52, 16, width - 14, height - 40)
    steps, losses = [row["step"] for row in history], [row["loss"] for row in history]
    positive = [v for v in losses if v > 0]
    log = len(positive) == len(losses) and max(losses) / min(losses) > 20
    low, high = (
        (min(losses) * 0.9, max(losses) * 1.1)
        if log
        else (min(0.0, *losses), max(losses) * 1.05 or 1.0)
    )
    x, y = frame.x(0, max(steps)), frame.y(low, high, log)
    parts = [
        frame.grid_y(y, log_ticks(low, high) if log else ticks(low, high, 4), lambda v: f"{v:g}"),
        frame.grid_x(x, ticks(0, max(steps), 4), lambda v: f"{v:,.0f}"),
        text("step", (frame.left + frame.right) / 2, height - 4, "axis"),
        text(
            "loss" + (" (log)" if log else ""),
            frame.right - 4,
            frame.top + 12,
            "axis",
            anchor="end",
        ),
    ]
    rates = [row.get("lr", 0.0) for row in history]
    if max(rates) > 0:
        z = frame.y(0, max(rates) * 3)
        area = " ".join(f"{x(s):.1f},{z(r):.1f}" for s, r in zip(steps, rates, strict=True))
        parts.insert(
            0,
            tag(
                "polygon",
                points=f"{x(steps[0]):.1f},{frame.bottom} {area} {x(steps[-1]):.1f},{frame.bottom}",
                class_="rate",
            ),
        )
    line = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(steps, losses, strict=True))
    parts.append(tag("polyline", points=line, class_=f"line {name}"))
    label = (
        f"Loss of {name} over {steps[-1]:,.0f} steps, from {significant(losses[0])} to "
        f"{significant(losses[-1])}"
    )
    return picture(width, height, label, *parts)


def timings(parts_s: Mapping[str, float]) -> str:
    """Seconds per stage as bars."""
    width, row = 480, 26
    height = row * len(parts_s) + 8
    most = max(parts_s.values()) or 1.0
    marks = []
    for i, (stage, spent) in enumerate(parts_s.items()):
        top = i * row + 6
        marks.append(text(stage, 78, top + 14, "tick", "end"))
        length = 300 * spent / most
        marks.append(
            tag(
                "rect",
                x=88,
                y=top + 2,
                width=max(length, 1.5),
                height=row - 10,
                rx=2,
                class_="spent",
            )
        )
        marks.append(text(seconds(spent), 88 + length + 8, top + 14, "tick", "start"))
    return picture(
        width,
        height,
        f"Time per stage: {', '.join(f'{k} {seconds(v)}' for k, v in parts_s.items())}",
        *marks,
    )


def _radius(size_bytes: int, largest: int) -> float:
    return 5 + 17 * math.sqrt(size_bytes / largest)


def _disc(p: Point, x: float, y: float, low: float, high: float, largest: int) -> str:
    tip = title(f"{variant(p.name)}: {percent(p.top1)}, {milliseconds(p.p50_ms)}, {size(p.bytes)}")
    bar = tag(
        "path",
        d=f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 4:.1f} {low:.1f}h8M{x - 4:.1f} {high:.1f}h8",
        class_=f"error {p.name}",
    )
    return tag(
        "g",
        tip,
        bar,
        tag("circle", cx=x, cy=y, r=_radius(p.bytes, largest), class_=f"disc {p.name}"),
    )


def _around(p: Point, x: float, low: float, high: float, at: float, largest: int) -> Box:
    """The box of a disc with its error bar."""
    radius = _radius(p.bytes, largest)
    return x - radius, min(high, at - radius), x + radius, max(low, at + radius)
