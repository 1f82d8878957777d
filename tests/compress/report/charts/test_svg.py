"""Ticks of an axis."""

from __future__ import annotations

import pytest

from compress.report.charts import svg


def test_ticks_are_round_and_inside() -> None:
    assert svg.ticks(0.83, 0.95, 5) == pytest.approx([0.84, 0.86, 0.88, 0.90, 0.92, 0.94])
    assert svg.log_ticks(0.03, 40) == pytest.approx([0.1, 1, 10])
    assert svg.log_ticks(0.15, 6) == pytest.approx([0.2, 0.5, 1, 2, 5])
