"""The few SVG pieces of the plots. Colors are CSS classes: light, dark and print have their own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

Scale = Callable[[float], float]


def tag(name: str, *children: str, **attributes: object) -> str:
    """One element; ``class_`` becomes class, ``stroke_width`` stroke-width. Children are markup,
    see ``text``.
    """
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(children)
    return f"<{name}{pairs}>{inner}</{name}>" if inner else f"<{name}{pairs}/>"


def text(
    content: object,
    x: float,
    y: float,
    class_: str = "tick",
    anchor: str = "middle",
    **attributes: object,
) -> str:
    """A label at (x, y); the content is escaped."""
    return tag(
        "text", escape(str(content)), x=x, y=y, class_=class_, text_anchor=anchor, **attributes
    )


def title(content: object) -> str:
    """The tooltip of its parent."""
    return f"<title>{escape(str(content))}</title>"


def picture(width: float, height: float, label: str, *children: str, class_: str = "") -> str:
    """A whole drawing that scales with the page; ``label`` is what a screen reader says."""
    attributes = {
        "viewBox": f"0 0 {_short(width)} {_short(height)}",
        "role": "img",
        "aria_label": label,
    }
    return tag("svg", *children, class_=f"plot {class_}".strip(), **attributes)


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

    def grid_y(self, scale: Scale, ticks: list[float], label: Callable[[float], str]) -> str:
        """Horizontal lines with labels at the left."""
        return "".join(
            tag("line", x1=self.left, x2=self.right, y1=scale(v), y2=scale(v), class_="grid")
            + text(label(v), self.left - 8, scale(v) + 4, anchor="end")
            for v in ticks
        )

    def grid_x(self, scale: Scale, ticks: list[float], label: Callable[[float], str]) -> str:
        """Vertical lines with labels below."""
        return "".join(
            tag("line", x1=scale(v), x2=scale(v), y1=self.top, y2=self.bottom, class_="grid")
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
    """1, 2, 5 per decade within [low, high]; only powers of ten where that would be crowded."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) < 2.4 else (1,)
    return [v for d in decades for m in steps if low <= (v := m * 10.0**d) <= high]


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
