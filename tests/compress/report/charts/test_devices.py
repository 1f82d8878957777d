"""Drawings of devices: energy from zero, heat from the start."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from compress.report.charts import devices as plots_device


def elements(drawn: str, tag: str, class_: str) -> list[dict[str, str]]:
    """Attributes of the elements with a tag whose classes contain ``class_``."""
    tree = ElementTree.fromstring(drawn)
    return [
        dict(e.attrib)
        for e in tree.iter()
        if e.tag == tag and class_ in (e.get("class") or "").split()
    ]


def test_energy_is_drawn_from_zero_and_heat_from_the_start() -> None:
    bars = [
        plots_device.Bar("board", "student int8", "student_int8", 1.0),
        plots_device.Bar("board", "teacher", "teacher", 4.0),
    ]
    lengths = [float(bar["width"]) for bar in elements(plots_device.energy(bars), "rect", "fill")]
    assert lengths[1] == pytest.approx(4 * lengths[0])
    course = plots_device.Course("board", [(0.0, 2.0), (60.0, 3.0)])
    assert "ends at 150 % of its first p50" in plots_device.sustained([course])
