"""Predict against decode and run."""

from __future__ import annotations

from pathlib import Path

from tiny_bundles import encoded, make_bundle, photo

from benchmarks.end_to_end import cells, measure


def test_both_sides_of_one_model_are_timed(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", tmp_path)
    row = measure(bundle, encoded(photo(3), "JPEG"), "fp32", 0.3)
    assert row["p50_ms"]["whole"] > row["p50_ms"]["run"] > 0 and row["ratio"].p50 > 0.5
    assert cells(row)[1:3] == ("fp32", 32)
