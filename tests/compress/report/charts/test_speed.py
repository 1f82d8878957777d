"""Drawings of time: floors are kept, parts add up, nothing unmeasured is drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from report_devices import quantiles

from compress.report.charts import speed as plots_speed
from compress.report.charts.speed import PARTS, Curve, Start


def elements(drawn: str, tag: str, class_: str) -> list[dict[str, str]]:
    """Attributes of the elements with a tag whose classes contain ``class_``."""
    tree = ElementTree.fromstring(drawn)
    return [
        dict(e.attrib)
        for e in tree.iter()
        if e.tag == tag and class_ in (e.get("class") or "").split()
    ]


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
    assert ("p99" in drawn) == (n >= 662), "a percentile below its floor is not spoken either"


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
    assert all(name in drawn for name in PARTS.values()), "screen readers get the small parts"


def test_cold_starts_show_only_what_was_measured() -> None:
    rows = [Start("teacher", 0.7, 4.0, 43.0, 160.0), Start("student_int8", None, 3.0, None, 140.0)]
    for width in (960, 380):
        drawn = plots_speed.starts(rows, width)
        assert len(elements(drawn, "path", "disc")) == 6
    assert len(elements(plots_speed.starts(rows[1:]), "path", "marker")) == 2, (
        "no key for what was not measured"
    )
