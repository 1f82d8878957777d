"""The page of added classes says what was measured, and claims what its worst case holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundles import class_photos, growing_bundle

from benchmarks.add_class import AddClassCells, claims, compared, report, rows
from runtime import Classifier
from runtime.learning.accuracy import hits, labeled_photos
from runtime.learning.add_class import add_class


def cell(gap: float, loss: float) -> dict:
    one = {
        "trained_class": 90.0,
        "after_class": 90.0 - gap,
        "before_others": 80.0,
        "after_others": 80.0 - loss,
        "photos": 50,
        "other_photos": 549,
    }
    return {"seconds": 1.25, "shots": 8, "fp32": one, "int8": one}


def test_the_worst_case_decides() -> None:
    good, bad = {"a": cell(2, 0.5)}, {"a": cell(2, 0.5), "b": cell(6, 1.5)}
    assert all(line.startswith("- holds") for line in claims(good))
    assert all("6.0 points" in line or "1.50 points" in line for line in claims(bad))
    assert not any(line.startswith("- holds") for line in claims(bad))


def test_a_row_for_each_file_and_the_mean() -> None:
    table = rows({"a": cell(2, 0.5), "b": cell(6, 1.5)})
    assert [row[:2] for row in table[:2]] == [("a", "fp32"), ("a", "int8")]
    assert table[0][2:] == ("90.0", "88.0", 50, "80.0", "79.5", 549, "1.2")
    assert table[-1][2:4] == ("90.0", "86.0")
    record = {
        "folders": {"x, 8 shots": {"command": "python -m y", "cells": {"a": cell(2, 0.5)}}},
        "commits": ["abc"],
        "host": "cpu",
        "versions": "python 3",
    }
    assert "| a | fp32 | 90.0 | 88.0 |" in report(record)


def test_a_folder_without_a_class_and_its_figures(tmp_path: Path) -> None:
    data = tmp_path / "flowers"
    for at, name in enumerate(("rose", "lily")):
        class_photos(data / "test" / name, 5, 10 * at, at)
        class_photos(data / "train" / name, 3, 50 + 10 * at, at)
    cells = AddClassCells(data, tmp_path / "work", 3)
    less = cells.without("lily")
    names = {str(path.relative_to(less)) for path in less.rglob("*.png")}
    assert len(names) == 8 and not any("lily" in name for name in names)
    bundle = growing_bundle(tmp_path / "bundle", tmp_path)
    more = add_class(bundle, data / "train" / "lily", out=tmp_path / "more").bundle
    row = compared(more, bundle, more, data, "lily", "fp32")
    found = hits(Classifier.load(more, "fp32"), labeled_photos(data / "test", ("rose", "lily")), {})
    assert row["after_class"] == row["trained_class"] == pytest.approx(100 * found["lily"].share)
    assert row["after_others"] == pytest.approx(100 * found["rose"].share)
    assert row["before_class"] == 0 and row["photos"] == row["other_photos"] == 5
