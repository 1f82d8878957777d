"""Estimates as lines."""

from __future__ import annotations

import dataclasses

from compress.cost.estimate import DeviceTime, StageEstimate
from compress.cost.lines import duration, flops, lines, size


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


def test_lines_are_aligned_and_say_what_is_assumed_and_what_is_measured() -> None:
    times = (
        DeviceTime("h100", "bf16", 3600.0, 4e14, 989e12),
        DeviceTime("host", "fp32", 7200.0, 1e11, None, 90.0),
    )
    row = StageEstimate("generate", "images", 30_600, 12, 10**18, 10**9, 2 * 10**9, False, times)
    short = dataclasses.replace(row, stage="label", unit="views", teacher_calls=0, times=())
    shown = lines([row, short])
    assert shown[0] == (
        "estimate   generate  30,600 images · 12 teacher calls · 1.0e18 FLOPs · "
        "1 GB (2 GB while made) · 1 h on h100 · 2 h on host, measured here over 1.5 min"
    )
    assert shown[1].startswith("estimate   label     30,600 views · 1.0e18")
    assert shown[2].startswith("estimate   all       2.0e18 FLOPs · 2 GB · 1 h on h100")
    assert shown[3] == "assumed    bf16      h100 40 % of 989 TFLOP/s"
    assert lines([]) == []
