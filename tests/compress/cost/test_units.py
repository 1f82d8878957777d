"""Units."""

from __future__ import annotations

from compress.cost.units import duration, flops, size


def test_figures_are_short() -> None:
    assert [duration(s) for s in (0.5, 59, 90, 7200, 36 * 3600, 200 * 86400)] == [
        "0.5 s",
        "59 s",
        "1.5 min",
        "2 h",
        "1.5 d",
        "200 d",
    ]
    assert [size(b) for b in (0, 999, 6.1e9, 1.2e13)] == ["0 B", "999 B", "6.1 GB", "12 TB"]
    assert flops(1.23e18) == "1.2e18 FLOPs"
