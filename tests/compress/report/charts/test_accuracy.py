"""Drawings of accuracy at their extremes."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from compress.evaluate import metrics as evaluate
from compress.report.charts import accuracy as plots


@pytest.mark.parametrize("k", [2, 12, 33, 102, 400])
def test_confusion_is_drawn_for_any_number_of_classes(k: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(k), 5)
    predicted = np.where(rng.random(5 * k) < 0.7, labels, rng.integers(0, k, 5 * k))
    matrix = evaluate.confusion(predicted, labels, k)
    cells = [[int(t), int(p), int(matrix[t, p])] for t, p in np.argwhere(matrix)]
    drawn = plots.confusion(cells, [f"class <{i}> & co" for i in range(k)], "student_int8")
    tree = ElementTree.fromstring(drawn)
    assert sum(element.get("class") in ("right", "wrong") for element in tree.iter()) == len(cells)
    assert len(drawn) < 250 * len(cells) + 20_000


def test_accuracy_latency_survives_one_model_and_equal_models() -> None:
    one = plots.Point("student_int8", 0.2, 1.0, (0.98, 1.0), 150_000)
    for points in ([one], [one, plots.Point("teacher", 0.2, 1.0, (0.98, 1.0), 150_000)]):
        for width in (380, 960):
            ElementTree.fromstring(plots.accuracy_latency(points, width))


def test_labels_of_near_points_do_not_cover_each_other() -> None:
    points = [
        plots.Point("teacher", 4.0, 0.90, (0.88, 0.92), 6_600_000),
        plots.Point("student_fp32", 0.30, 0.883, (0.86, 0.90), 560_000),
        plots.Point("student_int8", 0.20, 0.882, (0.86, 0.90), 170_000),
        plots.Point("student_ptq", 0.20, 0.880, (0.86, 0.90), 168_000),
    ]
    tree = ElementTree.fromstring(plots.accuracy_latency(points))
    at = [
        (float(e.get("x", 0)), float(e.get("y", 0)))
        for e in tree.iter()
        if e.get("class") == "name"
    ]
    assert len(at) == 4
    assert all(
        abs(a[1] - b[1]) >= 30 or abs(a[0] - b[0]) >= 150 for i, a in enumerate(at) for b in at[:i]
    )


def test_reliability_survives_certain_answers() -> None:
    certain = evaluate.reliability(np.array([[50.0, 0.0]] * 3), np.array([0, 0, 1]))
    ElementTree.fromstring(plots.reliability(certain, "student_int8", 1 / 3))
