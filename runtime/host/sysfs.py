"""Values in /proc and /sys: one per file, None if it is absent, unreadable or damaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path("/")
MAX_BYTES = 1 << 20  # of one file; /proc/cpuinfo of 512 cores is about 700 kB


def text(file: Path) -> str | None:
    """A file's text without surrounding white space; None if it is empty."""
    try:
        with open(file, "rb") as stream:
            return stream.read(MAX_BYTES).decode(errors="replace").strip() or None
    except OSError:
        return None


def number(file: Path, unit: float = 1.0) -> float | None:
    """A file's number (words may follow: ``32760 ma``) times ``unit``, e.g. 1e-3 for kHz to MHz."""
    return as_number(text(file), unit)


def as_number(value: str | None, unit: float = 1.0) -> float | None:
    """``number`` of a text; None if it is not finite."""
    try:
        figure = float(value.split()[0]) * unit if value else None
    except ValueError:
        return None
    return figure if figure is not None and math.isfinite(figure) else None


def total(values: Iterable[str | None]) -> int | None:
    """Sum of those that are whole numbers; None if none is."""
    numbers = [int(value) for value in values if value and value.isdecimal() and value.isascii()]
    return sum(numbers) if numbers else None


def matches(root: Path, pattern: str) -> Iterator[Path]:
    """Files that match, sorted by name, so that the first one is always the same."""
    try:
        yield from sorted(root.glob(pattern))
    except OSError:
        return


def product(volts: Path, amperes: Path, unit: float) -> Callable[[], float | None]:
    """Volts times amperes, read when called: watts."""

    def watts() -> float | None:
        factors = (number(volts, unit), number(amperes, unit))
        # Some batteries count discharge below 0.
        return None if factors[0] is None or factors[1] is None else factors[0] * abs(factors[1])

    return watts
