"""Pictures of the search: accuracy against latency or size with the limits, and mixed models.

A candidate with a measured cost is filled, one with an estimated cost hollow; one that was never
tested has no accuracy and stands on the rail below the axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compress.report.charts import svg
from compress.report.charts.labels import Box, around, covered, free
from compress.report.charts.svg import Frame, Label, Scale
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

    @property
    def chosen(self) -> bool:
        """Whether the search chose it."""
        return self.status == "chosen"

    def words(self, shown: Label) -> str:
        """Name, status, accuracy and cost."""
        accuracy = percent(self.top1) if self.top1 is not None else "not tested"
        estimate = " (estimate)" if self.estimate else ""
        return f"{self.label}, {self.status}: {accuracy}, {shown(self.cost)}{estimate}"


@dataclass(frozen=True)
class Limits:
    """The lines of a picture: highest cost, least top-1, and the teacher's top-1."""

    cost: float | None = None
    top1: float | None = None
    teacher: float | None = None


def pareto(
    points: Sequence[CandidatePoint], limits: Limits, axis: str, shown: Label, width: int = 480
) -> str:
    """Top-1 against a cost (log): up and to the left is better, shaded is outside of the budget."""
    height = 340
    scored = [(p, p.top1) for p in points if p.top1 is not None]
    rail = len(scored) < len(points)
    whole = Frame(48, 16, width - 14, height - 44)
    frame = replace(whole, bottom=whole.bottom - (RAIL if rail else 0))
    costs = [p.cost for p in points] + ([limits.cost] if limits.cost else [])
    low, high = min(costs) / 1.35, max(costs) * 2.2
    x = frame.x(low, high, log=True)
    levels = [top1 for _, top1 in scored]
    levels += [v for v in (limits.top1, limits.teacher) if v is not None]
    levels = levels or [0.0, 1.0]
    margin = max(0.15 * (max(levels) - min(levels)), 0.01)
    bottom, top = max(min(levels) - margin, 0.0), min(max(levels) + margin, 1.0)
    y = frame.y(bottom, top)
    marks = svg.ticks(bottom, top, 5)
    taken: list[Box] = []
    parts = [
        *_outside(limits, x, y, frame, whole.bottom),
        frame.grid_y(y, marks, svg.in_percent(marks)),
        whole.grid_x(x, svg.log_ticks(low, high) or [min(costs)]),
        frame.below(axis, height - 6),
        frame.corner("top-1, %"),
        *_lines(limits, x, y, frame, whole.bottom, shown, taken),
    ]
    if rail:
        at = frame.bottom + RAIL - 8
        parts.append(svg.text("not tested", frame.left + 6, at, "axis", "start"))
        parts.append(svg.line((frame.left, frame.bottom), (frame.right, frame.bottom), "ideal"))
    for p in points:
        middle = y(p.top1) if p.top1 is not None else frame.bottom + RAIL / 2
        radius = 8.0 if p.chosen else 5.5
        taken.append(around(x(p.cost), middle, radius))
        class_ = f"{'hollow' if p.estimate else 'disc'} {p.status}"
        parts.append(svg.circle((x(p.cost), middle), radius, class_, svg.title(p.words(shown))))
    scored.sort(key=lambda pair: (not pair[0].chosen, -pair[1]))
    for p, top1 in scored[:5]:
        spot = (x(p.cost), y(top1), 7.0, 7.0 * len(p.label))
        parts += _label(p.label, p.chosen, spot, taken, frame)
    spoken = "; ".join(p.words(shown) for p in points)
    return svg.picture(width, height, f"Candidates, top-1 against {axis}: {spoken}", *parts)


def _label(words: str, chosen: bool, spot: Box, taken: list[Box], frame: Frame) -> list[str]:
    """The name beside a disc if there is room; its tooltip and the table have it anyway.

    ``spot``: the disc's center and radius, and the width of the words.
    """
    box = free(*spot, taken, frame, tall=16.0, far=24)
    if not chosen and covered(box, taken):
        return []
    taken.append(box)
    return [svg.text(words, box[0], box[1] + 12, "name small" if chosen else "tick", "start")]


def _outside(limits: Limits, x: Scale, y: Scale, frame: Frame, bottom: float) -> list[str]:
    """The shaded part that the budget forbids."""
    out, right = [], frame.right
    if limits.cost:
        right = min(max(x(limits.cost), frame.left), frame.right)
        out.append(svg.rect(right, frame.top, frame.right - right, bottom - frame.top, "outside"))
    if limits.top1 is not None:
        top = min(max(y(limits.top1), frame.top), frame.bottom)
        out.append(svg.rect(frame.left, top, right - frame.left, frame.bottom - top, "outside"))
    return out


def _lines(
    limits: Limits, x: Scale, y: Scale, frame: Frame, bottom: float, shown: Label, taken: list[Box]
) -> list[str]:
    """The limits and the teacher; their lines and words are taken."""
    out, left, right = [], frame.left, frame.right
    if limits.cost:
        at, words = x(limits.cost), f"limit {shown(limits.cost)}"
        out.append(svg.line((at, frame.top), (at, bottom), "limit"))
        out.append(svg.text(words, at - 6, frame.top + 26, "limited", "end"))
    if limits.top1 is not None:
        at, words = y(limits.top1), f"at least {percent(limits.top1)}"
        out.append(svg.line((left, at), (right, at), "limit"))
        out.append(svg.text(words, right, at + 14, "limited", "end"))
        taken += [(left, at - 2, right, at + 2), (right - 110, at, right, at + 18)]
    if limits.teacher is not None:
        at, words = y(limits.teacher), f"teacher {percent(limits.teacher)}"
        out.append(svg.line((left, at), (right, at), "reference"))
        out.append(svg.text(words, left + 6, at + 14, "tick", "start"))
        taken.append((left, at, left + 106, at + 18))
    return out


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
    spread = max(max(costs) - min(costs), 1e-9 + 0.02 * max(costs))
    rise = 0.25 * max(max(levels) - min(levels), 0.01)
    bottom, top = max(min(levels) - rise, 0), min(max(levels) + rise, 1)
    x = frame.x(min(costs) - 0.12 * spread, max(costs) + 0.3 * spread)
    y = frame.y(bottom, top)
    order = sorted(points, key=lambda p: p.cost)
    parts = [
        frame.grid_y(y, svg.ticks(bottom, top, 5), lambda v: f"{100 * v:.1f}"),
        frame.grid_x(x, svg.ticks(min(costs), max(costs), 4)),
        frame.below(axis, height - 6),
        frame.corner("top-1, %"),
        svg.polyline([(x(p.cost), y(p.top1)) for p in order], "journey bare"),
    ]
    taken = [around(x(p.cost), y(p.top1), 6) for p in points]
    for p in order:
        radius, class_ = (8.0, "disc chosen") if p.chosen else (5.0, "disc trained")
        tip = svg.title(f"{p.label}: {percent(p.top1)}")
        parts.append(svg.circle((x(p.cost), y(p.top1)), radius, class_, tip))
    for p in sorted(order, key=lambda p: not p.chosen)[:6]:
        spot = (x(p.cost), y(p.top1), 8.0, 6.6 * len(p.label))
        parts += _label(p.label, p.chosen, spot, taken, frame)
    spoken = "; ".join(
        f"{p.label} {percent(p.top1)} at {p.cost:g}{' (chosen)' if p.chosen else ''}" for p in order
    )
    what = f"Mixed models of int8 and float, top-1 against {axis}"
    return svg.picture(width, height, f"{what}: {spoken}", *parts)
