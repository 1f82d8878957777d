"""Pictures that compare devices: measurements are filled, estimates hollow, dashed and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compress.report.charts.svg import Frame, Scale, log_ticks, picture, tag, text, ticks, title
from compress.report.wording import milliseconds, significant

LETTER, BOLD = 6.5, 7.6  # units of width per character of a tick and of a name
# right of the longest line: its value, and on wide pages a stamp
ROOM, ROOM_NARROW = 190.0, 96.0
WIDE = 500  # units of width from which labels stand beside their rows


@dataclass(frozen=True)
class Mark:
    """A model variant on a device; ``stamp`` is None for VALID."""

    label: str
    color: str
    p50_ms: float
    p99_ms: float | None = None
    stamp: str | None = None
    estimate: bool = False


def devices(groups: Mapping[str, Sequence[Mark]], width: int = 960) -> str:
    """One block per device over p50 (log), a line to p99: further left is faster."""
    wide = width > WIDE
    marks = [mark for group in groups.values() for mark in group]
    left, step, head = (262.0, 26, 28) if wide else (12.0, 42, 26)
    height = 40 + sum(head + step * len(group) + 12 for group in groups.values())
    reach = [mark.p50_ms for mark in marks] + [mark.p99_ms for mark in marks if mark.p99_ms]
    low, high = min(reach) / 1.3, max(reach) * 1.05
    frame = Frame(left, 6, width - (ROOM if wide else ROOM_NARROW), height - 40)
    x = frame.x(low, high, log=True)
    parts = [
        frame.grid_x(x, log_ticks(low, high) or [min(reach)], lambda v: f"{v:g}"),
        text(
            "latency p50 (dot) to p99 (line), ms (log)",
            (frame.left + frame.right) / 2,
            height - 4,
            "axis",
        ),
    ]
    top = 6.0
    for name, group in groups.items():
        parts.append(
            text(_cut(name, width - 24, BOLD), 0 if wide else left, top + 17, "name", "start")
        )
        for i, mark in enumerate(group):
            at = top + head + step * i + (step / 2 if wide else step - 12)
            parts += _mark(mark, x, at, left, wide)
        top += head + step * len(group) + 12
    spoken = "; ".join(
        f"{name}: {', '.join(f'{m.label} {_words(m)}' for m in group)}"
        for name, group in groups.items()
    )
    return picture(width, height, f"Devices compared: {spoken}", *parts)


def _mark(mark: Mark, x: Scale, at: float, left: float, wide: bool) -> list[str]:
    spot, value = x(mark.p50_ms), milliseconds(mark.p50_ms)
    place = (left - 14, at + 4, "tick", "end") if wide else (left, at - 14, "tick", "start")
    parts = [text(_cut(mark.label, left - 14, LETTER) if wide else mark.label, *place)]
    end = spot
    if mark.p99_ms and mark.p99_ms > mark.p50_ms:
        end = x(mark.p99_ms)
        parts.append(tag("line", x1=spot, x2=end, y1=at, y2=at, class_=f"span {mark.color}"))
        parts.append(tag("line", x1=end, x2=end, y1=at - 4, y2=at + 4, class_=f"span {mark.color}"))
    class_ = f"hollow {mark.color}" if mark.estimate else f"disc {mark.color}"
    parts.append(
        tag("circle", title(f"{mark.label}: {_words(mark)}"), cx=spot, cy=at, r=6.0, class_=class_)
    )
    note = "estimate" if mark.estimate else mark.stamp
    parts.append(text(value, end + 12, at + 4, "figure", "start"))
    if note:
        after = (
            (end + 20 + BOLD * len(value), at + 4)
            if wide
            else (left + 8 + LETTER * len(mark.label), at - 14)
        )
        parts.append(text(note, *after, "warned" if mark.stamp else "tick", "start"))
    return parts


@dataclass(frozen=True)
class Bar:
    """A measured quantity of a model variant on a device."""

    device: str
    label: str
    color: str
    value: float


def energy(bars: Sequence[Bar], width: int = 480) -> str:
    """Millijoules per inference, as lengths from zero."""
    row, most = 46, max(bar.value for bar in bars) or 1.0
    height = row * len(bars) + 10
    parts = []
    for i, bar in enumerate(bars):
        top = i * row + 4
        value = f"{significant(bar.value)} mJ"
        label = _cut(f"{bar.device} · {bar.label}", width, LETTER)
        length = (width - 100) * bar.value / most
        tip = title(f"{bar.device}, {bar.label}: {value}")
        parts += [
            text(label, 0, top + 12, "tick", "start"),
            tag(
                "rect",
                tip,
                x=0,
                y=top + 18,
                width=max(length, 1.5),
                height=14,
                rx=2,
                class_=f"fill {bar.color}",
            ),
            text(value, length + 8, top + 30, "figure", "start"),
        ]
    spoken = "; ".join(f"{bar.device}, {bar.label} {significant(bar.value)} mJ" for bar in bars)
    return picture(width, height, f"Energy per inference: {spoken}", *parts)


@dataclass(frozen=True)
class Course:
    """A device under load for minutes: (seconds, p50 in ms) in order of time."""

    device: str
    points: Sequence[tuple[float, float]]


def sustained(courses: Sequence[Course], width: int = 480) -> str:
    """p50 over minutes, relative to the start: a line that rises is a device that grows hot."""
    height = 250
    frame = Frame(46, 16, width - 16, height - 40)
    ratios = [
        [(t / 60, p50 / course.points[0][1]) for t, p50 in course.points] for course in courses
    ]
    high = max(1.2, *(r for line in ratios for _, r in line)) * 1.04
    low = min(0.9, *(r for line in ratios for _, r in line)) * 0.98
    x, y = frame.x(0, max(t for line in ratios for t, _ in line) or 1.0), frame.y(low, high)
    parts = [
        frame.grid_y(y, ticks(low, high, 4), lambda v: f"{100 * v:.0f}"),
        frame.grid_x(
            x, ticks(0, max(t for line in ratios for t, _ in line) or 1.0, 4), lambda v: f"{v:g}"
        ),
        text("minutes", (frame.left + frame.right) / 2, height - 4, "axis"),
        text("p50, % of the start", frame.left + 6, frame.top + 10, "axis", "start"),
    ]
    for i, (course, line) in enumerate(zip(courses, ratios, strict=True)):
        points = " ".join(f"{x(t):.1f},{y(r):.1f}" for t, r in line)
        parts.append(
            tag("polyline", title(course.device), points=points, class_=f"line course{i % 4}")
        )
        words = _cut(f"{100 * line[-1][1]:.0f} %, {course.device}", 0.6 * width, LETTER)
        parts.append(text(words, frame.right, y(line[-1][1]) - 7, "tick", "end"))
    spoken = "; ".join(
        f"{c.device} ends at {100 * line[-1][1]:.0f} % of its first p50"
        for c, line in zip(courses, ratios, strict=True)
    )
    return picture(width, height, f"Latency under sustained load: {spoken}", *parts)


def _words(mark: Mark) -> str:
    tail = f", p99 {milliseconds(mark.p99_ms)}" if mark.p99_ms else ""
    kind = " (estimate, not measured)" if mark.estimate else ""
    stamp = f", {mark.stamp}" if mark.stamp else ""
    return f"{milliseconds(mark.p50_ms)}{tail}{kind}{stamp}"


def _cut(words: str, wide: float, letter: float) -> str:
    """The words as far as they fit."""
    room = max(int(wide / letter), 4)
    return words if len(words) <= room else f"{words[: room - 1].rstrip()}…"
