"""Figures of estimates in the unit that keeps them short."""

from __future__ import annotations

#: seconds -> the unit that a duration is shown in, the largest that fits
DURATIONS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (0.0, "s"))
BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (0.0, "B"))


def duration(seconds: float) -> str:
    """In the largest unit that gives at least one, with two digits."""
    divisor, unit = next(pair for pair in DURATIONS if seconds >= pair[0])
    return f"{_digits(seconds / (divisor or 1.0))} {unit}"


def size(count: float) -> str:
    """Bytes in decimal units, with two digits."""
    divisor, unit = next(pair for pair in BYTES if count >= pair[0])
    return f"{_digits(count / (divisor or 1.0))} {unit}"


def flops(count: float) -> str:
    """Operations, e.g. "1.2e18 FLOPs"."""
    return f"{count:.1e}".replace("e+", "e") + " FLOPs"


def _digits(value: float) -> str:
    return f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"
