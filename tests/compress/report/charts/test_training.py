"""Drawings of training at their extremes."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from compress.report.charts.training import curve, timings


@pytest.mark.parametrize(
    "history",
    [
        [{"step": 1, "loss": 0.0}],
        [{"step": s, "loss": 100 / s, "lr": 0.1} for s in range(1, 900, 90)],
    ],
)
def test_curves_survive_extremes(history: list[dict[str, float]]) -> None:
    ElementTree.fromstring(curve(history, "distill"))


def test_timings_survive_no_time() -> None:
    ElementTree.fromstring(timings({"data": 0.0}))
