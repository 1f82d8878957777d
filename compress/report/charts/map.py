"""The map of the training images: a dot each, in the color of its class."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from compress.report.charts import svg
from compress.report.charts.labels import Box, around, free
from compress.report.charts.svg import Frame
from compress.report.model.images import MapPoint

GOLDEN = 137.508  # degrees between the hues of neighbors: far apart for any number of classes
MOST_NAMED = 24  # classes whose names stand beside their dots
LONGEST = 20  # characters of a name there


def color(label: int, classes: int) -> str:
    """The color of a class, readable on light and dark pages."""
    hue = label * 360 / classes if classes <= 8 else label * GOLDEN % 360
    return f"hsl({hue:.0f} {(72, 55)[label // 2 % 2]}% {(46, 60)[label % 2]}%)"


def image_map(
    points: Sequence[MapPoint], names: Sequence[str], doubted: Collection[str], width: int
) -> str:
    """Dots at their places; those of ``doubted`` images have a ring."""
    height = round(width * (0.62 if width > 600 else 0.95))
    frame = Frame(10, 10, width - 10, height - 10)
    inner = Frame(34, 28, width - 34, height - 28)
    spread = _spread(points, width > height)
    radius = 5.5 if len(points) <= 150 else 4.0
    places = [
        (inner.left + x * (inner.right - inner.left), inner.bottom - y * (inner.bottom - inner.top))
        for x, y in spread
    ]
    parts = [svg.rect(frame.left, frame.top, width - 20, height - 20, "board", rx=4)]
    for point, place in sorted(
        zip(points, places, strict=True), key=lambda pair: pair[0].key in doubted
    ):
        tip = svg.title(f"{names[point.label]}: {point.key}")
        kind = "dot doubt" if point.key in doubted else "dot"
        fill = color(point.label, len(names))
        parts.append(svg.tag("g", svg.circle(place, radius, kind, tip), fill=fill))
    parts += _names(points, places, names, radius, frame)
    classes = len({point.label for point in points})
    spoken = f"{len(points)} training images of {classes} classes; {len(doubted)} with a ring"
    return svg.picture(width, height, f"Map of the images: {spoken}", *parts)


def _spread(points: Sequence[MapPoint], is_wide: bool) -> list[svg.XY]:
    """The places in a unit square; the longer side of the map lies along that of the picture."""
    xy = np.array([(point.x, point.y) for point in points])
    low, size = xy.min(axis=0), np.maximum(np.ptp(xy, axis=0), 1e-6)
    turned = (size[0] < size[1]) == is_wide
    fitted = (xy - low) / size
    return [(float(b), float(a)) if turned else (float(a), float(b)) for a, b in fitted]


def _names(
    points: Sequence[MapPoint],
    places: Sequence[svg.XY],
    names: Sequence[str],
    radius: float,
    frame: Frame,
) -> list[str]:
    """The name of every class beside its most central dot, where there is room for all."""
    labels = sorted({point.label for point in points})
    if len(labels) > MOST_NAMED:
        return []
    taken: list[Box] = [around(*place, radius) for place in places]
    at = np.array(places)
    own = np.array([point.label for point in points])
    parts = []
    for label in labels:
        members = np.flatnonzero(own == label)
        gaps = np.linalg.norm(at[members] - np.median(at[members], axis=0), axis=1)
        x, y = places[members[gaps.argmin()]]
        name = names[label] if len(names[label]) <= LONGEST else f"{names[label][: LONGEST - 1]}…"
        box = free(x, y, radius, 7.0 * len(name), taken, frame, tall=16.0, far=48)
        taken.append(box)
        parts.append(svg.text(name, box[0], box[1] + 12, "name small", "start"))
    return parts
