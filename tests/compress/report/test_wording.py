"""Numbers as people read them."""

from __future__ import annotations

import pytest

from compress.report import wording


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (wording.percent(0.8912), "89.1 %"),
        (wording.percent(None), "–"),
        (wording.points(-0.012), "−1.2 points"),
        (wording.points(-0.0001), "±0.0 points"),
        (wording.points(0.0061), "+0.6 points"),
        (wording.interval([0.86, 0.91]), "86.0–91.0"),
        (wording.signed_interval([-0.012, 0.0]), "−1.2 to 0.0"),
        (wording.milliseconds(0.21342), "0.213 ms"),
        (wording.milliseconds(1179.4), "1,180 ms"),
        (wording.milliseconds(999.6), "1,000 ms"),
        (wording.size(153_400), "153 kB"),
        (wording.size(999_960), "1.00 MB"),
        (wording.size(12), "12 B"),
        (wording.count(1_640_000), "1.64 M"),
        (wording.times(0.857), "0.86×"),
        (wording.times(8.43), "8.4×"),
        (wording.times(31.2), "31×"),
        (wording.seconds(0.42), "0.4 s"),
        (wording.seconds(187.4), "3 min 07 s"),
        (wording.seconds(7400), "2 h 03 min"),
        (wording.p_value(0.00002), "< 0.001"),
        (wording.p_value(0.5), "0.50"),
        (wording.cell("a|b\n# <c>"), "a\\|b # &lt;c>"),
    ],
)
def test_numbers_read_well(made: str, expected: str) -> None:
    assert made.replace("\u202f", " ") == expected
