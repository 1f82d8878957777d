"""Pictures and words of time: floors are kept, parts add up, and nothing is drawn that was not
measured.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest
from report_devices import quantiles

from compress.report.charts import devices as plots_device
from compress.report.charts import speed as plots_speed
from compress.report.charts.speed import PARTS, Curve, Start
from compress.report.sections import speed


def elements(drawn: str, tag: str, class_: str) -> list[dict[str, str]]:
    """Attributes of the elements with a tag whose classes contain ``class_``."""
    tree = ElementTree.fromstring(drawn)
    return [
        dict(e.attrib)
        for e in tree.iter()
        if e.tag == tag and class_ in (e.get("class") or "").split()
    ]


def latency(model: str, precision: str, p50: float, **more: Any) -> dict[str, Any]:
    curve = quantiles(p50, 0.05)
    return {
        "model": model,
        "precision": precision,
        "backend": "onnxruntime",
        "batch": 1,
        "threads": 1,
        "n": 1000,
        "includes": "compute",
        "p50_ms": curve[50],
        "p90_ms": curve[90],
        "p99_ms": curve[99],
        "verdict": "VALID",
        "quantiles_ms": curve,
        **more,
    }


@pytest.mark.parametrize(
    ("n", "supported", "dots"), [(11, 50, 1), (64, 90, 2), (662, 99, 3), (6636, 100, 3)]
)
def test_a_curve_is_pale_where_too_few_calls_stand_behind_it(
    n: int, supported: int, dots: int
) -> None:
    curve = Curve("student_int8", quantiles(0.2, 0.1), n)
    assert curve.supported == supported
    drawn = plots_speed.ecdf([curve])
    lines = elements(drawn, "polyline", "ecdf")
    pale = [line for line in lines if "faint" in line["class"].split()]
    assert len(lines[0]["points"].split()) == supported + 1 and len(pale) == (supported < 100)
    assert len(elements(drawn, "circle", "disc")) == dots
    assert ("p99" in drawn) == (n >= 662), "a percentile below its floor is not told either"


def test_curves_rise_to_the_right_at_any_width() -> None:
    curves = [
        Curve("teacher", quantiles(50.0, 0.3), 9000),
        Curve("student_int8", [0.1] * 101, 9000),
    ]
    for width in (960, 380):
        for line in elements(plots_speed.ecdf(curves, width), "polyline", "ecdf"):
            points = np.array([point.split(",") for point in line["points"].split()], float)
            assert (np.diff(points[:, 0]) >= 0).all() and (np.diff(points[:, 1]) <= 0).all()
            assert points[:, 0].min() >= 50 and points[:, 0].max() <= width


def test_the_curves_are_those_of_one_image_at_the_fewest_threads() -> None:
    rows = [
        latency("student", "int8", 0.1),
        latency("student", "int8", 0.05, threads=2),
        latency("teacher", "fp32", 1.0),
        latency("student", "int8", 9.0, includes="decode + resize"),
        latency("student", "fp32", 0.2, quantiles_ms=None),
        latency("student", "int8", 0.8, batch=8),
    ]
    found = speed.curves({"latency": rows})
    assert [curve.name for curve in found] == ["teacher", "student_int8"]
    assert found[1].quantiles_ms[50] == pytest.approx(0.1, rel=0.05)


def test_the_parts_of_a_bar_are_as_long_as_their_times() -> None:
    parts = dict(zip(PARTS, (4.0, 2.0, 1.0, 8.0, 1.0), strict=True))
    half = {name: value / 2 for name, value in parts.items()}
    drawn = plots_speed.breakdown({"student_fp32": parts, "student_int8": half})
    wide = {
        name: float(elements(drawn, "rect", name)[0]["width"]) + 1 for name in parts
    }  # a gap of 1 separates two parts
    for name, value in parts.items():
        assert wide[name] / wide["compute"] == pytest.approx(value / 8.0, abs=0.01)
    second = float(elements(drawn, "rect", "compute")[1]["width"]) + 1
    assert second == pytest.approx(wide["compute"] / 2, abs=0.1)
    assert all(name in drawn for name in PARTS.values()), "small parts are told to screen readers"


def test_where_the_time_goes_is_said() -> None:
    told = {
        f"{name}_ms": value for name, value in zip(PARTS, (6.0, 1.0, 0.5, 2.0, 0.5), strict=True)
    }
    report = {
        "student": {"shipped": "student_int8"},
        "breakdown": {"int8": {**told, "end_to_end_ms": 10.2, "n": 50}},
    }
    said = speed.breakdown_sentence(report)
    assert "20\u202f%" in said and "decode takes most (60\u202f%)" in said
    row = speed.breakdown_rows(report)[0]
    assert row["total"] == "10.2\u202fms" and [share for _, share in row["parts"]][0] == "59\u202f%"
    assert (
        speed.breakdown_sentence({**report, "breakdown": None})
        == ""
        == speed.breakdown_sentence({**report, "breakdown": {}})
    )


def test_cold_starts_show_only_what_was_measured() -> None:
    rows = [Start("teacher", 0.7, 4.0, 43.0, 160.0), Start("student_int8", None, 3.0, None, 140.0)]
    for width in (960, 380):
        drawn = plots_speed.starts(rows, width)
        assert len(elements(drawn, "path", "disc")) == 6
    assert len(elements(plots_speed.starts(rows[1:]), "path", "marker")) == 2, (
        "no key for what nobody measured"
    )


def test_energy_is_drawn_from_zero_and_heat_from_the_start() -> None:
    bars = [
        plots_device.Bar("board", "student int8", "student_int8", 1.0),
        plots_device.Bar("board", "teacher", "teacher", 4.0),
    ]
    lengths = [float(bar["width"]) for bar in elements(plots_device.energy(bars), "rect", "fill")]
    assert lengths[1] == pytest.approx(4 * lengths[0])
    course = plots_device.Course("board", [(0.0, 2.0), (60.0, 3.0)])
    assert "ends at 150 % of its first p50" in plots_device.sustained([course])
