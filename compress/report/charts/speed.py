"""Pictures of time: the spread of a series, the parts of one image's time, and the cold start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compress.report.charts import svg
from compress.report.charts.svg import Frame
from compress.report.wording import milliseconds, percent, variant
from runtime.bench.latency import FLOORS

#: stages of runtime.bench.breakdown, in order, and their words
PARTS: Mapping[str, str] = {
    "decode": "decode",
    "geometry": "resize and crop",
    "normalise": "normalize",
    "compute": "compute",
    "post": "softmax",
}
MARKED = (50, 90, 99)  # percentiles with a dot on the curve


@dataclass(frozen=True)
class Curve:
    """The 101 quantiles of a series in ms, and how many calls they come from."""

    name: str
    quantiles_ms: Sequence[float]
    n: int

    @property
    def supported(self) -> int:
        """The highest percentile with enough calls behind it (100: all of the curve)."""
        kept = [percentile for percentile, floor in FLOORS.items() if self.n >= floor]
        return min(100, round(max(kept, default=0.0)))


@dataclass(frozen=True)
class Start:
    """A model variant before it is warm, in ms; None if not measured."""

    name: str
    warm: float | None
    first: float | None
    load: float | None
    process: float | None

    def values(self) -> dict[str, float]:
        """What was measured, by the name of its marker."""
        times = {"warm": self.warm, "first": self.first, "load": self.load, "process": self.process}
        return {name: value for name, value in times.items() if value}


def ecdf(curves: Sequence[Curve], width: int = 960, height: int = 330) -> str:
    """Share of calls over time (log): steep is steady, far to the right is a tail."""
    frame = Frame(54, 18, width - 18, height - 44)
    low = min(curve.quantiles_ms[0] for curve in curves)
    high = max(low * 1.3, *(curve.quantiles_ms[-1] for curve in curves))
    x, y = frame.x(low * 0.94, high * 1.06, log=True), frame.y(0, 1)
    parts = [
        frame.grid_y(y, [0.0, 0.25, 0.5, 0.75, 0.9, 1.0], lambda v: f"{100 * v:.0f}"),
        frame.grid_x(x, svg.log_ticks(low * 0.94, high * 1.06) or [low]),
        frame.below("latency, ms (log): one image, compute only", height - 6),
        frame.corner("share of calls, %", 12),
    ]
    for curve in curves:
        points = [(x(value), y(i / 100)) for i, value in enumerate(curve.quantiles_ms)]
        cut = curve.supported
        drawn = [svg.polyline(points[: cut + 1], f"ecdf {curve.name}")]
        if cut < 100:
            drawn.append(svg.polyline(points[cut:], f"ecdf faint {curve.name}"))
        drawn += [svg.circle(points[i], 3.5, f"disc {curve.name}") for i in MARKED if i <= cut]
        tip = svg.title(f"{variant(curve.name)}: {_percentiles(curve)} of {curve.n:,} calls")
        parts.append(svg.tag("g", tip, *drawn))
    spoken = "; ".join(f"{variant(curve.name)} {_percentiles(curve)}" for curve in curves)
    return svg.picture(width, height, f"Share of calls by latency: {spoken}", *parts)


def breakdown(bars: Mapping[str, Mapping[str, float]], width: int = 960) -> str:
    """One bar per model variant, cut into the stages of one image.

    Args:
        bars: model variant -> stage (a key of ``PARTS``) -> ms.
    """
    row, left = 74, 12
    height = row * len(bars) + 34
    frame = Frame(left, 0, width - 74, height - 34)
    totals = {name: sum(parts.values()) for name, parts in bars.items()}
    most = max(totals.values()) or 1.0
    x = frame.x(0, most)
    shapes = [frame.grid_x(x, svg.ticks(0, most, 5 if width > 500 else 3))]
    for i, (name, parts) in enumerate(bars.items()):
        top, at, total = i * row + 8, 0.0, totals[name]
        shapes.append(svg.text(variant(name), left, top + 10, "name", "start"))
        for part, words in PARTS.items():
            spent = milliseconds(parts[part])
            wide = x(at + parts[part]) - x(at)
            share = percent(parts[part] / (total or 1.0), 0)
            tip = svg.title(f"{variant(name)}, {words}: {spent}, {share}")
            shapes.append(
                svg.rect(x(at), top + 18, max(wide - 1, 0.5), 24, f"part {part} {name}", tip)
            )
            fitting = [
                label for label in (f"{words} {spent}", words) if 6.6 * len(label) < wide - 8
            ]
            if fitting:
                shapes.append(svg.text(fitting[0], x(at) + wide / 2, top + 34, f"inside {part}"))
            at += parts[part]
        shapes.append(svg.text(milliseconds(total), x(at) + 8, top + 34, "tick", "start"))
    shapes.append(svg.text("ms", width - 40, height - 16, "axis", "start"))
    spoken = "; ".join(
        f"{variant(name)}: "
        f"{', '.join(f'{words} {milliseconds(parts[part])}' for part, words in PARTS.items())}"
        for name, parts in bars.items()
    )
    return svg.picture(width, height, f"Where the time of one image goes: {spoken}", *shapes)


#: marker -> (words, path around the origin)
MARKERS: Mapping[str, tuple[str, str]] = {
    "warm": ("warm", "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z"),
    "first": ("first image", "M0 -6.5L6.5 0L0 6.5L-6.5 0Z"),
    "load": ("load", "M0 -6.5L6 5H-6Z"),
    "process": ("whole process", "M-5 -5H5V5H-5Z"),
}


def starts(rows: Sequence[Start], width: int = 960) -> str:
    """Cold against warm: one line per model variant over time (log), a marker per stage."""
    narrow = width <= 500
    left, step, name_row = (12, 64, 18) if narrow else (150, 46, 0)
    reach = [value for row in rows for value in row.values().values()]
    low, high = min(reach) / 1.6, max(reach) * 1.6
    height = step * len(rows) + 66
    frame = Frame(left, 34, width - 18, height - 40)
    x = frame.x(low, high, log=True)
    shapes = [frame.grid_x(x, svg.log_ticks(low, high)), frame.below("ms (log)", height - 4)]
    shown = [marker for marker in MARKERS if any(marker in row.values() for row in rows)]
    gap = (frame.right - frame.left) / max(len(shown), 1)
    for i, marker in enumerate(shown):
        words, path = MARKERS[marker]
        at = frame.left + i * gap + 8
        shapes.append(svg.tag("path", d=path, transform=f"translate({at:.1f} 13)", class_="marker"))
        shapes.append(svg.text(words, at + 12, 17, "tick", "start"))
    for i, row in enumerate(rows):
        values, at = row.values(), frame.top + i * step + (step + name_row) / 2
        place, anchor = ((left, at - 16), "start") if narrow else ((left - 14, at + 4), "end")
        shapes.append(svg.text(variant(row.name), *place, "name", anchor))
        spots = {marker: x(value) for marker, value in values.items()}
        ends = min(spots.values()), max(spots.values())
        shapes.append(svg.line((ends[0], at), (ends[1], at), f"span {row.name}"))
        for marker, value in values.items():
            words, path = MARKERS[marker]
            tip = svg.title(f"{variant(row.name)}, {words}: {milliseconds(value)}")
            where = f"translate({spots[marker]:.1f} {at:.1f})"
            shapes.append(svg.tag("path", tip, d=path, transform=where, class_=f"disc {row.name}"))
    spoken = "; ".join(
        f"{variant(row.name)}: "
        f"{', '.join(f'{MARKERS[m][0]} {milliseconds(v)}' for m, v in row.values().items())}"
        for row in rows
    )
    return svg.picture(width, height, f"Cold against warm: {spoken}", *shapes)


def _percentiles(curve: Curve) -> str:
    supported = [percent for percent in MARKED if percent <= curve.supported]
    return ", ".join(f"p{i} {milliseconds(curve.quantiles_ms[i])}" for i in supported)
