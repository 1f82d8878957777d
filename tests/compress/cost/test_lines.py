"""Estimates as lines."""

from __future__ import annotations

import dataclasses

from compress.cost.estimate import DeviceTime, StageEstimate
from compress.cost.lines import headline, lines


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
    assert shown[2].startswith("estimate   together  2.0e18 FLOPs · 2 GB · 1 h on h100")
    assert shown[3] == "assumed    bf16      h100 40 % of 989 TFLOP/s"
    assert lines([]) == []


def test_a_sum_names_all_that_it_runs_on() -> None:
    gpu = (DeviceTime("h100", "bf16", 60.0, 4e14), DeviceTime("host", "fp32", 7200.0, 1e11))
    row = StageEstimate("distill", "steps", 100, 0, 10**15, 10**6, 10**6, False, gpu)
    cores = dataclasses.replace(row, stage="quantize", times=gpu[1:])
    (both,) = [line for line in lines([row, cores]) if line.startswith("estimate   together")]
    assert "2 h on h100 and host" in both and "4 h on host" in both
    assert "a100" not in both
    (none,) = [line for line in lines([row]) if line.startswith("no figure")]
    assert none.endswith(
        "export, bench, report: no network decides their time, which is not in the sum"
    )


def test_a_headline_says_what_it_comes_to_on_this_machine() -> None:
    here = (DeviceTime("h100", "bf16", 1.0, 4e14), DeviceTime("host", "fp32", 90.0, 1e11))
    row = StageEstimate("distill", "steps", 100, 0, 10**15, 2 * 10**6, 3 * 10**6, False, here)
    assert headline("a-run", [row, row]) == [
        "a-run: about 3 min on this machine, 4 MB; export, bench, report are not counted"
    ]
    unknown = dataclasses.replace(row, times=(), per_class=True)
    (each,) = headline("a-run", [unknown])
    assert each.startswith("a-run: 2 MB for each class; ")
    assert headline("a-run", []) == []
