"""Pictures that compare devices: measurements are filled, estimates hollow, dashed and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compress.report.charts import svg
from compress.report.charts.svg import Frame, Scale
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

    @property
    def words(self) -> str:
        """Its figures, and how far to trust them."""
        tail = f", p99 {milliseconds(self.p99_ms)}" if self.p99_ms else ""
        kind = " (estimate, not measured)" if self.estimate else ""
        stamp = f", {self.stamp}" if self.stamp else ""
        return f"{milliseconds(self.p50_ms)}{tail}{kind}{stamp}"


def devices(groups: Mapping[str, Sequence[Mark]], width: int = 960) -> str:
    """One block per device over p50 (log), a line to p99: further left is faster."""
    wide = width > WIDE
    marks = [mark for group in groups.values() for mark in group]
    left, step, head = (262.0, 26, 28) if wide else (12.0, 42, 26)
    height = 40 + sum(head + step * len(group) + 12 for group in groups.values())
    reach = [ms for mark in marks for ms in (mark.p50_ms, mark.p99_ms) if ms]
    low, high = min(reach) / 1.3, max(reach) * 1.05
    frame = Frame(left, 6, width - (ROOM if wide else ROOM_NARROW), height - 40)
    x = frame.x(low, high, log=True)
    parts = [
        frame.grid_x(x, svg.log_ticks(low, high) or [min(reach)]),
        frame.below("latency p50 (dot) to p99 (line), ms (log)", height - 4),
    ]
    top = 6.0
    for name, group in groups.items():
        words = _cut(name, width - 24, BOLD)
        parts.append(svg.text(words, 0 if wide else left, top + 17, "name", "start"))
        for i, mark in enumerate(group):
            at = top + head + step * i + (step / 2 if wide else step - 12)
            parts += _mark(mark, x, at, left, wide)
        top += head + step * len(group) + 12
    spoken = "; ".join(
        f"{name}: {', '.join(f'{mark.label} {mark.words}' for mark in group)}"
        for name, group in groups.items()
    )
    return svg.picture(width, height, f"Devices compared: {spoken}", *parts)


def _mark(mark: Mark, x: Scale, at: float, left: float, wide: bool) -> list[str]:
    spot, value = x(mark.p50_ms), milliseconds(mark.p50_ms)
    parts = [svg.text(mark.label, left, at - 14, "tick", "start")]
    if wide:
        parts = [svg.text(_cut(mark.label, left - 14, LETTER), left - 14, at + 4, "tick", "end")]
    end = spot
    if mark.p99_ms and mark.p99_ms > mark.p50_ms:
        end = x(mark.p99_ms)
        parts.append(svg.line((spot, at), (end, at), f"span {mark.color}"))
        parts.append(svg.line((end, at - 4), (end, at + 4), f"span {mark.color}"))
    class_ = f"{'hollow' if mark.estimate else 'disc'} {mark.color}"
    parts.append(svg.circle((spot, at), 6.0, class_, svg.title(f"{mark.label}: {mark.words}")))
    parts.append(svg.text(value, end + 12, at + 4, "figure", "start"))
    note = "estimate" if mark.estimate else mark.stamp
    if note:
        after = (left + 8 + LETTER * len(mark.label), at - 14)
        if wide:
            after = (end + 20 + BOLD * len(value), at + 4)
        parts.append(svg.text(note, *after, "warned" if mark.stamp else "tick", "start"))
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
    parts = []
    for i, bar in enumerate(bars):
        top, length = i * row + 4, (width - 100) * bar.value / most
        value = f"{significant(bar.value)} mJ"
        tip = svg.title(f"{bar.device}, {bar.label}: {value}")
        label = _cut(f"{bar.device} · {bar.label}", width, LETTER)
        parts += [
            svg.text(label, 0, top + 12, "tick", "start"),
            svg.rect(0, top + 18, max(length, 1.5), 14, f"fill {bar.color}", tip, rx=2),
            svg.text(value, length + 8, top + 30, "figure", "start"),
        ]
    spoken = "; ".join(f"{bar.device}, {bar.label} {significant(bar.value)} mJ" for bar in bars)
    return svg.picture(width, row * len(bars) + 10, f"Energy per inference: {spoken}", *parts)


@dataclass(frozen=True)
class Course:
    """A device under load for minutes: (seconds, p50 in ms) in order of time."""

    device: str
    points: Sequence[tuple[float, float]]


def sustained(courses: Sequence[Course], width: int = 480) -> str:
    """p50 over minutes, relative to the start: a line that rises is a device that grows hot."""
    height = 250
    frame = Frame(46, 16, width - 16, height - 40)
    lines = [
        [(t / 60, p50 / course.points[0][1]) for t, p50 in course.points] for course in courses
    ]
    ratios = [ratio for points in lines for _, ratio in points]
    low, high = min(0.9, *ratios) * 0.98, max(1.2, *ratios) * 1.04
    minutes = max(t for points in lines for t, _ in points) or 1.0
    x, y = frame.x(0, minutes), frame.y(low, high)
    parts = [
        frame.grid_y(y, svg.ticks(low, high, 4), lambda v: f"{100 * v:.0f}"),
        frame.grid_x(x, svg.ticks(0, minutes, 4)),
        frame.below("minutes", height - 4),
        frame.corner("p50, % of the start"),
    ]
    for i, (course, points) in enumerate(zip(courses, lines, strict=True)):
        drawn, last = [(x(t), y(ratio)) for t, ratio in points], points[-1][1]
        parts.append(svg.polyline(drawn, f"line course{i % 4}", svg.title(course.device)))
        words = _cut(f"{100 * last:.0f} %, {course.device}", 0.6 * width, LETTER)
        parts.append(svg.text(words, frame.right, y(last) - 7, "tick", "end"))
    spoken = "; ".join(
        f"{course.device} ends at {100 * points[-1][1]:.0f} % of its first p50"
        for course, points in zip(courses, lines, strict=True)
    )
    return svg.picture(width, height, f"Latency under sustained load: {spoken}", *parts)


def _cut(words: str, wide: float, letter: float) -> str:
    """The words as far as they fit."""
    room = max(int(wide / letter), 4)
    return words if len(words) <= room else f"{words[: room - 1].rstrip()}…"
