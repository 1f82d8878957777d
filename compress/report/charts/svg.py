"""The few SVG pieces of the plots. Colors are CSS classes: light, dark and print have their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from runtime.errors import harmless

Scale = Callable[[float], float]
Label = Callable[[float], str]
XY = tuple[float, float]


def tag(name: str, *children: str, **attributes: object) -> str:
    """One element; ``class_`` becomes class, ``stroke_width`` stroke-width. Children are markup."""
    written = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    pairs = (f' {k}="{_text(_short(v))}"' for k, v in written.items() if v is not None)
    start, inner = f"<{name}{''.join(pairs)}", "".join(children)
    return f"{start}>{inner}</{name}>" if inner else f"{start}/>"


def text(
    words: object, x: float, y: float, class_: str = "tick", anchor: str = "middle", **more: object
) -> str:
    """A label at (x, y); the words are escaped."""
    return tag("text", _text(words), x=x, y=y, class_=class_, text_anchor=anchor, **more)


def title(content: object) -> str:
    """The tooltip of its parent."""
    return f"<title>{_text(content)}</title>"


def _text(words: object) -> str:
    """Words as text, in an element or an attribute."""
    return escape(harmless(str(words)))


def line(start: XY, end: XY, class_: str) -> str:
    """A straight line."""
    return tag("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def polyline(points: Iterable[XY], class_: str, *children: str) -> str:
    """A line through points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return tag("polyline", *children, points=path, class_=class_)


def rect(
    x: float, y: float, width: float, height: float, class_: str, *children: str, **more: object
) -> str:
    """A rectangle by its upper left corner."""
    return tag("rect", *children, x=x, y=y, width=width, height=height, class_=class_, **more)


def circle(center: XY, radius: float, class_: str, *children: str) -> str:
    """A disc."""
    return tag("circle", *children, cx=center[0], cy=center[1], r=radius, class_=class_)


def picture(width: float, height: float, label: str, *children: str, class_: str = "") -> str:
    """A whole drawing that scales with the page; ``label`` is what a screen reader says."""
    box = f"0 0 {_short(width)} {_short(height)}"
    class_ = f"plot {class_}".strip()
    return tag("svg", *children, class_=class_, viewBox=box, role="img", aria_label=label)


@dataclass(frozen=True)
class Frame:
    """The inner rectangle of a plot in user units."""

    left: float
    top: float
    right: float
    bottom: float

    def x(self, low: float, high: float, log: bool = False) -> Scale:
        """Data to horizontal position."""
        return _scale(low, high, self.left, self.right, log)

    def y(self, low: float, high: float, log: bool = False) -> Scale:
        """Data to vertical position (upwards)."""
        return _scale(low, high, self.bottom, self.top, log)

    def below(self, words: str, y: float) -> str:
        """The name of the horizontal axis."""
        return text(words, (self.left + self.right) / 2, y, "axis")

    def corner(self, words: str, down: float = 10) -> str:
        """The name of the vertical axis, in the upper left corner."""
        return text(words, self.left + 6, self.top + down, "axis", "start")

    def grid_y(self, scale: Scale, ticks: list[float], label: Label) -> str:
        """Horizontal lines with labels at the left."""
        return "".join(
            line((self.left, scale(v)), (self.right, scale(v)), "grid")
            + text(label(v), self.left - 8, scale(v) + 4, anchor="end")
            for v in ticks
        )

    def grid_x(self, scale: Scale, ticks: list[float], label: Label = "{:g}".format) -> str:
        """Vertical lines with labels below."""
        return "".join(
            line((scale(v), self.top), (scale(v), self.bottom), "grid")
            + text(label(v), scale(v), self.bottom + 18)
            for v in ticks
        )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten) within [low, high]."""
    if high <= low:
        return [low]
    raw = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= 0.8 * raw)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 per decade within [low, high]; only powers of ten where crowded."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) < 2.4 else (1,)
    return [v for d in decades for m in steps if low <= (v := m * 10.0**d) <= high]


def in_percent(marks: Sequence[float]) -> Label:
    """Labels of fractions in percent, with a decimal if the marks need one."""
    digits = 0 if all(abs(100 * v - round(100 * v)) < 1e-6 for v in marks) else 1
    return lambda value: f"{100 * value:.{digits}f}"


def both_widths(draw: Callable[[int], str]) -> list[tuple[str, str]]:
    """(CSS class, drawing) for wide and for narrow pages."""
    return [("wide", draw(960)), ("narrow", draw(380))]


def _scale(low: float, high: float, start: float, end: float, log: bool) -> Scale:
    warp: Callable[[float], float] = math.log10 if log else float
    a, b = warp(low), warp(high)
    width = (b - a) or 1.0
    return lambda value: start + (warp(value) - a) / width * (end - start)


def _short(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
