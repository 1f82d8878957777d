"""Pictures of the search: accuracy against latency or size with the limits, and mixed models.

A candidate with a measured cost is filled, one with an estimated cost hollow; one that was never
tested has no accuracy and stands on the rail below the axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compress.report.charts.labels import Box, covered, free
from compress.report.charts.svg import Frame, Scale, log_ticks, picture, tag, text, ticks, title
from compress.report.wording import percent

RAIL = 34.0  # height of the strip for candidates without accuracy


@dataclass(frozen=True)
class CandidatePoint:
    """A candidate; ``cost`` in the unit of the axis, ``top1`` None if not tested."""

    label: str
    cost: float
    top1: float | None
    estimate: bool
    status: str  # "pruned", "trained" or "chosen"


@dataclass(frozen=True)
class Limits:
    """The lines of a picture: highest cost, least top-1, and the teacher's top-1."""

    cost: float | None = None
    top1: float | None = None
    teacher: float | None = None


def pareto(
    points: Sequence[CandidatePoint],
    limits: Limits,
    axis: str,
    shown: Callable[[float], str],
    width: int = 480,
) -> str:
    """Top-1 against a cost (log): up and to the left is better, shaded is outside of the budget.

    Args:
        axis: words below the axis.
        shown: formats a cost.
    """
    height = 340
    scored = [p for p in points if p.top1 is not None]
    rail = len(scored) < len(points)
    frame = Frame(48, 16, width - 14, height - 44 - (RAIL if rail else 0))
    costs = [p.cost for p in points] + ([limits.cost] if limits.cost else [])
    low, high = min(costs) / 1.35, max(costs) * 2.2
    x = frame.x(low, high, log=True)
    levels = [p.top1 for p in scored if p.top1 is not None]
    levels += [v for v in (limits.top1, limits.teacher) if v is not None]
    margin = max(0.15 * (max(levels) - min(levels)), 0.01) if levels else 0.5
    bottom, top = (
        (max(min(levels) - margin, 0.0), min(max(levels) + margin, 1.0)) if levels else (0.0, 1.0)
    )
    y = frame.y(bottom, top)
    marks = ticks(bottom, top, 5)
    digits = 0 if all(abs(100 * v - round(100 * v)) < 1e-6 for v in marks) else 1
    parts = [
        *_outside(limits, x, y, frame, height - 44),
        frame.grid_y(y, marks, lambda v: f"{100 * v:.{digits}f}"),
        _ticks_x(x, log_ticks(low, high) or [min(costs)], frame, height - 44),
        text(axis, (frame.left + frame.right) / 2, height - 6, "axis"),
        text("top-1, %", frame.left + 6, frame.top + 10, "axis", anchor="start"),
    ]
    parts += _lines(limits, x, y, frame, height - 44, shown)
    if rail:
        parts.append(text("not tested", frame.left + 6, frame.bottom + RAIL - 8, "axis", "start"))
        parts.append(
            tag(
                "line",
                x1=frame.left,
                x2=frame.right,
                y1=frame.bottom,
                y2=frame.bottom,
                class_="ideal",
            )
        )
    taken: list[Box] = []
    if limits.top1 is not None:  # its line and words are taken
        taken.append((frame.left, y(limits.top1) - 2, frame.right, y(limits.top1) + 2))
        taken.append((frame.right - 110, y(limits.top1), frame.right, y(limits.top1) + 18))
    if limits.teacher is not None:
        taken.append((frame.left, y(limits.teacher), frame.left + 106, y(limits.teacher) + 18))
    for p in points:
        at = (x(p.cost), y(p.top1) if p.top1 is not None else frame.bottom + RAIL / 2)
        radius = 8.0 if p.status == "chosen" else 5.5
        taken.append((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius))
        kind = "hollow" if p.estimate else "disc"
        parts.append(
            tag(
                "circle",
                title(_words(p, shown)),
                cx=at[0],
                cy=at[1],
                r=radius,
                class_=f"{kind} {p.status}",
            )
        )
    for p in sorted(scored, key=lambda p: (p.status != "chosen", -(p.top1 or 0.0)))[:5]:
        assert p.top1 is not None
        box = free(x(p.cost), y(p.top1), 7.0, 7.0 * len(p.label), taken, frame, tall=16.0, far=24)
        if p.status != "chosen" and covered(box, taken):
            continue  # its tooltip and the table name it
        taken.append(box)
        parts.append(
            text(
                p.label,
                box[0],
                box[1] + 12,
                "name small" if p.status == "chosen" else "tick",
                "start",
            )
        )
    spoken = "; ".join(_words(p, shown) for p in points)
    return picture(width, height, f"Candidates, top-1 against {axis}: {spoken}", *parts)


def _words(p: CandidatePoint, shown: Callable[[float], str]) -> str:
    accuracy = percent(p.top1) if p.top1 is not None else "not tested"
    return (
        f"{p.label}, {p.status}: {accuracy}, {shown(p.cost)}{' (estimate)' if p.estimate else ''}"
    )


def _outside(limits: Limits, x: Scale, y: Scale, frame: Frame, bottom: float) -> list[str]:
    """The shaded part that the budget forbids."""
    out = []
    if limits.cost:
        left = min(max(x(limits.cost), frame.left), frame.right)
        out.append(
            tag(
                "rect",
                x=left,
                y=frame.top,
                width=frame.right - left,
                height=bottom - frame.top,
                class_="outside",
            )
        )
    if limits.top1 is not None:
        top = min(max(y(limits.top1), frame.top), frame.bottom)
        right = min(max(x(limits.cost), frame.left), frame.right) if limits.cost else frame.right
        wide = right - frame.left
        out.append(
            tag(
                "rect", x=frame.left, y=top, width=wide, height=frame.bottom - top, class_="outside"
            )
        )
    return out


def _lines(
    limits: Limits, x: Scale, y: Scale, frame: Frame, bottom: float, shown: Callable[[float], str]
) -> list[str]:
    out = []
    if limits.cost:
        at = x(limits.cost)
        out.append(tag("line", x1=at, x2=at, y1=frame.top, y2=bottom, class_="limit"))
        out.append(text(f"limit {shown(limits.cost)}", at - 6, frame.top + 26, "limited", "end"))
    if limits.top1 is not None:
        at = y(limits.top1)
        out.append(tag("line", x1=frame.left, x2=frame.right, y1=at, y2=at, class_="limit"))
        out.append(text(f"at least {percent(limits.top1)}", frame.right, at + 14, "limited", "end"))
    if limits.teacher is not None:
        at = y(limits.teacher)
        out.append(tag("line", x1=frame.left, x2=frame.right, y1=at, y2=at, class_="reference"))
        out.append(
            text(f"teacher {percent(limits.teacher)}", frame.left + 6, at + 14, "tick", "start")
        )
    return out


def _ticks_x(x: Scale, values: Sequence[float], frame: Frame, bottom: float) -> str:
    return "".join(
        tag("line", x1=x(v), x2=x(v), y1=frame.top, y2=bottom, class_="grid")
        + text(f"{v:g}", x(v), bottom + 18)
        for v in values
    )


@dataclass(frozen=True)
class MixedPoint:
    """A mixed model; ``cost`` is p50 in ms, or the file's size in MB."""

    label: str
    cost: float
    top1: float
    chosen: bool


def front(points: Sequence[MixedPoint], axis: str, width: int = 480) -> str:
    """Top-1 of every mixed model against its cost, from all int8 to all float."""
    height = 300
    frame = Frame(48, 16, width - 14, height - 44)
    costs, levels = [p.cost for p in points], [p.top1 for p in points]
    spread, rise = (
        max(max(costs) - min(costs), 1e-9 + 0.02 * max(costs)),
        max(max(levels) - min(levels), 0.01),
    )
    x = frame.x(min(costs) - 0.12 * spread, max(costs) + 0.3 * spread)
    y = frame.y(max(min(levels) - 0.25 * rise, 0), min(max(levels) + 0.25 * rise, 1))
    order = sorted(points, key=lambda p: p.cost)
    marks = ticks(max(min(levels) - 0.25 * rise, 0), min(max(levels) + 0.25 * rise, 1), 5)
    parts = [
        frame.grid_y(y, marks, lambda v: f"{100 * v:.1f}"),
        frame.grid_x(x, ticks(min(costs), max(costs), 4), lambda v: f"{v:g}"),
        text(axis, (frame.left + frame.right) / 2, height - 6, "axis"),
        text("top-1, %", frame.left + 6, frame.top + 10, "axis", "start"),
        tag(
            "polyline",
            points=" ".join(f"{x(p.cost):.1f},{y(p.top1):.1f}" for p in order),
            class_="journey bare",
        ),
    ]
    taken: list[Box] = [
        (x(p.cost) - 6, y(p.top1) - 6, x(p.cost) + 6, y(p.top1) + 6) for p in points
    ]
    for p in order:
        radius = 8.0 if p.chosen else 5.0
        class_ = "disc chosen" if p.chosen else "disc trained"
        parts.append(
            tag(
                "circle",
                title(f"{p.label}: {percent(p.top1)}"),
                cx=x(p.cost),
                cy=y(p.top1),
                r=radius,
                class_=class_,
            )
        )
    for p in sorted(order, key=lambda p: not p.chosen)[:6]:
        box = free(x(p.cost), y(p.top1), 8.0, 6.6 * len(p.label), taken, frame, tall=16.0, far=24)
        if not p.chosen and covered(box, taken):
            continue
        taken.append(box)
        parts.append(
            text(p.label, box[0], box[1] + 12, "name small" if p.chosen else "tick", "start")
        )
    spoken = "; ".join(
        f"{p.label} {percent(p.top1)} at {p.cost:g}{' (chosen)' if p.chosen else ''}" for p in order
    )
    return picture(
        width, height, f"Mixtures of int8 and float, top-1 against {axis}: {spoken}", *parts
    )
