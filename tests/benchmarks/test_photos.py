"""The record of the photo benchmark: what is kept, what is measured again, what its page says."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import photos
from benchmarks.ladder import ALL, Cell

RIGHT = {
    "int8": 0.9,
    "fp32": 0.9,
    "teacher": 0.95,
    photos.BASELINES[0]: 0.5,
    "teachers' answers": 0.4,
}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, tuple[str, ...]]]:
    """Cells that were measured; their hits are drawn."""
    done: list[tuple[str, int, tuple[str, ...]]] = []

    def cell(self: photos.PhotoCells, shots: photos.Shots, seed: int, rows: Sequence[str]) -> Cell:
        done.append((str(shots), seed, tuple(rows)))
        rng = np.random.default_rng([seed, len(done)])
        names = (
            [*rows] if photos.OURS not in rows else [n for n in RIGHT if n != "teachers' answers"]
        )
        return {name: rng.random(120) < RIGHT[name] for name in names}

    monkeypatch.setattr(photos.PhotoCells, "cell", cell)
    return done


def run(monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str) -> str:
    common = ["--data", "flowers", "--seeds", "2", "--work", str(out.parent), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["photos", *common, *arguments])
    photos.main()
    return out.with_suffix(".md").read_text(encoding="utf-8")


def test_a_run_adds_what_the_record_lacks(
    measured: list[tuple[str, int, tuple[str, ...]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "photos.json"
    run(monkeypatch, out, "--shots", "8")
    assert measured == [("8", 0, ("ours",)), ("8", 1, ("ours",))]
    run(monkeypatch, out, "--shots", "8", "all")
    assert measured[2:] == [("all", 0, ("ours",)), ("all", 1, ("ours",))]
    text = run(monkeypatch, out, "--shots", "8", "--rows", "ours", "teachers' answers")
    assert measured[4:] == [("8", 0, ("teachers' answers",)), ("8", 1, ("teachers' answers",))]
    record = json.loads(out.read_text(encoding="utf-8"))
    hits = photos.unpacked(record)["flowers"]
    assert {*hits} == {(0, 8), (1, 8), (0, ALL), (1, ALL)}
    assert hits[0, 8]["int8"].mean() == pytest.approx(0.9, abs=0.1)
    assert "| 8 | 2 |" in text and "| all | 2 |" in text
    assert "int8 > teachers' answers at 8 shots" in text and "teachers' answers at all" not in text
    assert "--rows 'ours' \"teachers' answers\"" in text and "at all shots" in text
