"""Training under torchrun: what is claimed can be missed, and real builds give a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import torchrun_training as bench

RECORD = {"ranks": 2, "factor": 1.7, "apart": 2e-5, "control": 1e-5}
RECORD |= {"rates": {"1": [2.0, 3.0], "2": [4.0, 5.0]}}


def test_a_missed_claim_is_named() -> None:
    assert list(bench.missed({"frozen": RECORD, "synced": {**RECORD, "factor": 1.0}})) == []
    slow = {"frozen": {**RECORD, "factor": 1.5}, "synced": {**RECORD, "apart": 2e-4}}
    assert list(bench.missed(slow)) == [
        "2 ranks: 1.50x the steps of one, claimed 1.6x",
        "synced: losses differ by 2.0e-04, claimed 1e-04",
    ]
    assert list(bench.missed({"frozen": {**RECORD, "ranks": 3, "factor": 1.0}})) == []
    assert "\nMissed: 2 ranks" in bench.text(slow, "c")
    good = bench.text({"synced": RECORD}, "c")
    assert "| synced | 1 | 2.50 | 2.00 to 3.00 | 1 | 1.0e-05 (two threads) |" in good
    assert "| synced | 2 | 4.50 | 4.00 to 5.00 | 1.70 | 2.0e-05 |" in good


@pytest.mark.slow
def test_real_builds_are_measured(tmp_path: Path) -> None:
    tiny = {"generate.per_class": 4, "label.real_views": 2, "distill.batch": 16}
    record = bench.measure(tmp_path, 2, 20, 1, {**tiny, "distill.precision": "fp32"})
    assert record["apart"] < bench.TOLERANCE and record["control"] < bench.TOLERANCE
    assert len(record["losses"]["2"]) == bench.AGREED_STEPS
    assert all(rate > 0 for rates in record["rates"].values() for rate in rates)
