"""Places for labels beside their marks that cover no other."""

from __future__ import annotations

from collections.abc import Sequence

from compress.report.charts.svg import Frame

Box = tuple[float, float, float, float]  # left, top, right, bottom


def around(x: float, y: float, radius: float) -> Box:
    """The box of a disc."""
    return x - radius, y - radius, x + radius, y + radius


def free(
    x: float,
    y: float,
    radius: float,
    wide: float,
    taken: Sequence[Box],
    frame: Frame,
    tall: float = 34.0,
    far: int = 180,
) -> Box:
    """The box nearest to a disc that covers no other box, or the one that covers least.

    It stands at most ``far`` higher or lower than its disc.
    """
    shifts = [0.0, *(sign * step for step in range(12, far + 1, 12) for sign in (1, -1))]
    options = [
        (left, y - tall / 2 + shift, left + wide, y + tall / 2 + shift)
        for shift in shifts
        for left in (x + radius + 8, x - radius - wide - 8)
    ]
    inside = [
        (left, top, right, bottom)
        for left, top, right, bottom in options
        if frame.left <= left and right <= frame.right + 12
        if frame.top <= top and bottom <= frame.bottom
    ]
    return min(inside or options, key=lambda box: covered(box, taken))


def covered(box: Box, taken: Sequence[Box]) -> float:
    """The area of other boxes that a box covers."""
    left, top, right, bottom = box
    return sum(
        max(min(right, other[2]) - max(left, other[0]), 0.0)
        * max(min(bottom, other[3]) - max(top, other[1]), 0.0)
        for other in taken
    )
