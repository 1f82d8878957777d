"""Paired gains with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from compress.papers.statistics import PairedGain, mean_and_deviation, paired_gain, t95


def cells(*shares: tuple[float, float]) -> list[dict[str, np.ndarray]]:
    """A cell per seed: "a" and "b" right on these shares of 100 images."""
    return [
        {row: np.arange(100) < round(100 * share) for row, share in zip("ab", pair, strict=True)}
        for pair in shares
    ]


def test_paired_difference_with_a_known_answer() -> None:
    assert t95(3) == pytest.approx(4.302653, abs=1e-6)
    p = paired_gain(cells((0.51, 0.50), (0.62, 0.60), (0.73, 0.70)), "a", "b")
    assert p.gain == pytest.approx(2.0) and p.per_seed == (1.0, 2.0, 3.0)
    assert p.half_width == pytest.approx(4.302653 * 1.0 / math.sqrt(3), abs=1e-5)
    assert p.p == pytest.approx(2 * 0.5**6)  # six images only "a" has right, none only "b"
    assert p.verdict == "not shown" and p.within == "± 2.48"


def test_a_sign_holds_only_outside_its_interval() -> None:
    assert paired_gain(cells((0.6, 0.5), (0.61, 0.5), (0.6, 0.5)), "a", "b").verdict == "holds"
    assert paired_gain(cells((0.5, 0.6), (0.5, 0.61)), "a", "b").verdict == "**FAILS**"
    one = paired_gain(cells((0.9, 0.1)), "a", "b")
    assert one.verdict == "not shown" and one.within == "(one seed)" and one.half_width == math.inf
    assert PairedGain(0.0, 1.0, (0.0,), 1.0).verdict == "**FAILS**"


def test_a_single_value_has_no_deviation() -> None:
    assert mean_and_deviation([1.0]) == "1.0"
    assert mean_and_deviation([1.0, 3.0]) == "2.0 ± 1.4"
