"""Time in words: which series are drawn, and where the time goes."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from report_devices import row
from report_parts import report_with

from compress.report.charts.speed import PARTS
from compress.report.page import Material, render_html, render_markdown
from compress.report.sections import speed
from runtime.bench.latency import Stamp


def latency(model: str, precision: str, p50: float, **more: Any) -> dict[str, Any]:
    return {**row(model, precision, p50, None), **more}


def test_the_curves_are_those_of_one_image_at_the_fewest_threads() -> None:
    rows = [
        latency("student", "int8", 0.1),
        latency("student", "int8", 0.05, threads=2),
        latency("teacher", "fp32", 1.0),
        latency("student", "int8", 9.0, includes="decode + resize"),
        latency("student", "fp32", 0.2, quantiles_ms=None),
        latency("student", "int8", 0.8, batch=8),
    ]
    found = speed.curves(report_with(latency=rows))
    assert [curve.name for curve in found] == ["teacher", "student_int8"]
    assert found[1].quantiles_ms[50] == pytest.approx(0.1, rel=0.05)


def test_the_largest_part_of_the_time_is_named() -> None:
    stages = {
        f"{name}_ms": value for name, value in zip(PARTS, (6.0, 1.0, 0.5, 2.0, 0.5), strict=True)
    }
    whole = {"end_to_end_ms": 10.2, "bare_ms": 8.0, "over_bare": 1.28, "over_bare_ci95": [1.2, 1.3]}
    report = report_with(breakdown={"int8": {**stages, **whole, "n": 50}})
    sentence = speed.breakdown_sentence(report)
    assert "20\u202f%" in sentence and "decode takes most (59\u202f%)" in sentence
    text, page = render_markdown(report), render_html(report, Material())
    assert "| student int8 | 6.00\u202fms | 1.00\u202fms |" in text
    assert "10.2\u202fms | 1.28×" in text and '6.00\u202fms<span class="ci">59\u202f%' in page
    assert all(
        speed.breakdown_sentence(report_with(breakdown=nothing)) == "" for nothing in (None, {})
    )


def test_every_stamp_is_counted_and_explained() -> None:
    rows = [
        latency("teacher", "fp32", 1.0),
        latency("student", "int8", 0.1, verdict="DRIFTING", reason="last third +9.0%"),
        latency("student", "fp32", 0.2, verdict="NOISY_HOST", reason="others used 40%"),
        latency("student", "int8", 0.8, batch=8, verdict="NOISY_HOST", reason="stolen 5%"),
    ]
    report = report_with(latency=rows)
    said = speed.stamp_sentence(report)
    assert "3 of 4 series are not stamped VALID" in said
    assert "1 DRIFTING: its calls became faster or slower" in said
    assert "2 NOISY_HOST: other work took turns" in said
    page = render_html(report, Material())
    assert all(reason in page for reason in ("last third +9.0%", "others used 40%", "stolen 5%"))
    assert set(speed.STAMPS) == set(get_args(Stamp)) - {"VALID"}
    assert "VALID." in speed.stamp_sentence(report_with(latency=rows[:1]))
