"""The verdict on a ReLU twin."""

from __future__ import annotations

import pytest

from benchmarks.relu_twin import verdict
from compress.papers.statistics import PairedGain


@pytest.mark.parametrize(
    ("gain", "half", "word"),
    [
        (-0.2, 0.3, "holds"),
        (-0.2, 2.0, "not shown"),
        (-1.5, 0.1, "**FAILS**"),
        (1.5, 0.1, "holds, the twin is better"),
    ],
)
def test_a_twin_is_judged_by_the_whole_interval(gain: float, half: float, word: str) -> None:
    assert verdict(PairedGain(gain, half, (gain,), 1.0), "fp32").startswith(f"- {word}:")
