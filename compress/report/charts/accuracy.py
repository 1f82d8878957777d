"""Pictures of accuracy and confidence as inline SVG, with a sentence for screen readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from compress.evaluate.metrics import ReliabilityBin
from compress.report.charts import svg
from compress.report.charts.labels import Box, around, free
from compress.report.charts.svg import Frame
from compress.report.wording import milliseconds, percent, size, variant


@dataclass(frozen=True)
class Point:
    """A model variant: p50 in ms, top-1 as a fraction with its interval, file size in bytes.

    ``label`` is written beside it in place of the variant's own words.
    """

    name: str
    p50_ms: float
    top1: float
    ci95: tuple[float, float]
    bytes: int
    label: str = ""

    @property
    def what(self) -> str:
        """What is written beside it."""
        return self.label or variant(self.name)

    def words(self, between: str = " · ") -> str:
        """Its figures."""
        return between.join((percent(self.top1), milliseconds(self.p50_ms), size(self.bytes)))


def accuracy_latency(points: Sequence[Point], width: int = 960, height: int = 400) -> str:
    """Top-1 against p50 (log), the area of a disc grows with the file: up left is better."""
    frame = Frame(54, 18, width - 18, height - 44)
    speeds = [p.p50_ms for p in points]
    spread = max(max(speeds) / min(speeds), 1.5)
    low_x = min(speeds) / spread**0.14
    x = frame.x(low_x, max(speeds) * spread ** (0.3 if width < 600 else 0.16), log=True)
    lows, highs = min(p.ci95[0] for p in points), max(p.ci95[1] for p in points)
    margin = max(0.3 * (highs - lows), 0.01)
    bottom, top = max(lows - margin, 0.0), min(highs + margin, 1.0)
    y = frame.y(bottom, top)
    y_ticks = svg.ticks(bottom, top, 5)
    x_ticks = svg.log_ticks(low_x, max(speeds) * spread**0.16) or [float(f"{min(speeds):.0e}")]
    parts = [
        frame.grid_y(y, y_ticks, svg.in_percent(y_ticks)),
        frame.grid_x(x, x_ticks),
        frame.below("latency p50, ms (log): one image, compute only", height - 6),
        frame.corner("top-1, %", 12),
    ]
    by_name = {p.name: (x(p.p50_ms), y(p.top1)) for p in points}
    if "teacher" in by_name and "student_int8" in by_name:
        parts.append(svg.line(by_name["teacher"], by_name["student_int8"], "journey"))
    largest = max(p.bytes for p in points)
    radii = {p: 5 + 17 * math.sqrt(p.bytes / largest) for p in points}
    taken: list[Box] = []
    for p, radius in radii.items():
        left, above, right, below = around(x(p.p50_ms), y(p.top1), radius)
        taken.append((left, min(y(p.ci95[1]), above), right, max(y(p.ci95[0]), below)))
    # what ships is never hidden
    for p in sorted(points, key=lambda p: (p.name != "student_ptq", -p.bytes)):
        at, low, high = x(p.p50_ms), y(p.ci95[0]), y(p.ci95[1])
        bar = f"M{at:.1f} {low:.1f}V{high:.1f}M{at - 4:.1f} {low:.1f}h8M{at - 4:.1f} {high:.1f}h8"
        disc = svg.circle((at, y(p.top1)), radii[p], f"disc {p.name}")
        tip = svg.title(f"{p.what}: {p.words(', ')}")
        parts.append(svg.tag("g", tip, svg.tag("path", d=bar, class_=f"error {p.name}"), disc))
    for p in sorted(points, key=lambda p: -p.top1):
        wide = 6.4 * max(len(p.words()), len(p.label))
        box = free(x(p.p50_ms), y(p.top1), radii[p], wide, taken, frame)
        taken.append(box)
        parts += [
            svg.text(p.what, box[0], box[1] + 13, "name", "start"),
            svg.text(p.words(), box[0], box[1] + 29, "tick", "start"),
        ]
    spoken = "; ".join(f"{p.what} {percent(p.top1)} at {milliseconds(p.p50_ms)}" for p in points)
    return svg.picture(width, height, f"Accuracy against latency: {spoken}", *parts)


def reliability(table: Sequence[ReliabilityBin], name: str, ece: float) -> str:
    """Accuracy per confidence bin against perfect calibration, above the images per bin."""
    width, height = 320, 340
    frame, below = Frame(40, 14, width - 10, 250), Frame(40, 262, width - 10, 304)
    x, y = frame.x(0, 1), frame.y(0, 1)
    share = below.y(0, max(row.count for row in table) or 1)
    marks = [0.0, 0.25, 0.5, 0.75, 1.0]
    parts = [frame.grid_y(y, marks, svg.in_percent(marks))]
    for row in table:
        left, wide, top = x(row.low) + 1, x(row.high) - x(row.low) - 2, share(row.count)
        parts.append(svg.rect(left, top, wide, below.bottom - top, "mass"))
        if row.accuracy is None or row.confidence is None:
            continue
        tip = svg.title(
            f"confidence {percent(row.low, 0)} to {percent(row.high, 0)}: {row.count} images, "
            f"accuracy {percent(row.accuracy)}, mean confidence {percent(row.confidence)}"
        )
        at = y(row.accuracy)
        upper, lower = sorted((at, y(row.confidence)))
        bar = svg.rect(left, at, wide, frame.bottom - at, f"fill {name}")
        gap = svg.rect(left, upper, wide, max(lower - upper, 0.5), "gap")
        parts.append(svg.tag("g", tip, bar, gap, opacity=0.45 if row.count < 5 else None))
    parts += [
        svg.line((x(0), y(0)), (x(1), y(1)), "ideal"),
        frame.corner("accuracy, %"),
        below.grid_x(x, marks, svg.in_percent(marks)),
        below.below("confidence, %", height - 4),
    ]
    spoken = f"expected calibration error {percent(ece)} over {sum(r.count for r in table)} images"
    return svg.picture(width, height, f"Reliability of {variant(name)}: {spoken}", *parts)


def named(names: Sequence[str]) -> bool:
    """Whether the names fit beside a confusion matrix; otherwise classes are numbered from 1."""
    return len(names) <= 32 and max(len(name) for name in names) <= 20


def confusion(cells: Sequence[Sequence[int]], names: Sequence[str], shown: str) -> str:
    """Heat map, row = true class, column = predicted class; color = share of the row.

    ``cells``: (true, predicted, count) of every cell that is not zero; wrong ones have their own
    hue. ``shown``: the model variant.
    """
    k, edge = len(names), 560.0
    rows = [0] * k
    for true, _, count in cells:
        rows[true] += count
    margin = 7.0 * max(len(name) for name in names) + 12 if named(names) else 24
    step = (edge - margin) / k
    inset = step * 0.04 if k <= 50 else 0.0
    inner = step - 2 * inset
    parts = [svg.rect(margin, margin, edge - margin, edge - margin, "board")]
    for true, predicted, count in cells:
        share, wrong = count / rows[true], true != predicted
        opacity = 0.25 + 0.75 * share if wrong else 0.1 + 0.9 * share
        left, top = margin + predicted * step + inset, margin + true * step + inset
        tip = svg.title(f"{names[true]} → {names[predicted]}: {count} of {rows[true]}")
        class_ = "wrong" if wrong else "right"
        parts.append(svg.rect(left, top, inner, inner, class_, tip, fill_opacity=round(opacity, 2)))
    parts += _names(names, margin, step) if named(names) else _numbers(k, margin, step)
    correct = sum(count for true, predicted, count in cells if true == predicted)
    spoken = f"{correct} of {sum(rows)} images on the diagonal, {k} classes"
    label = f"Confusion matrix of {variant(shown)}: {spoken}"
    return svg.picture(edge, edge, label, *parts, class_="square")


def _names(names: Sequence[str], margin: float, step: float) -> list[str]:
    font = max(min(step * 0.62, 13), 7)
    style, edge = f"font-size:{font:.1f}px", margin - 6
    parts = []
    for i, name in enumerate(names):
        at = margin + (i + 0.5) * step + font * 0.35
        turn = f"rotate(-90 {at:.1f} {edge:.1f})"
        parts.append(svg.text(name, edge, at, anchor="end", style=style))
        parts.append(svg.text(name, at, edge, anchor="start", transform=turn, style=style))
    return parts


def _numbers(k: int, margin: float, step: float) -> list[str]:
    """The number of the first class and of every 5th, 10th or 100th."""
    every = 5 if k <= 40 else 10 if k <= 120 else 100
    parts = []
    for number in [1, *range(every, k + 1, every)]:
        at = margin + (number - 0.5) * step
        parts.append(svg.text(number, margin - 5, at + 4, anchor="end"))
        parts.append(svg.text(number, at, margin - 7))
    return parts
