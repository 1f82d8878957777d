"""The race of students, small CLIPs and the teacher: a claim can be missed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import towers


def row(name: str, precision: str, factor: float) -> dict[str, object]:
    return {"name": name, "precision": precision, "speedup": {"p50": factor}}


def test_a_missed_factor_is_named() -> None:
    good = [row("mobilenetv4_conv_small", "int8", 900.0), row("efficientnet_b0", "fp32", 120.0)]
    assert towers.missed(good) == []
    bad = [row("mobilenetv4_conv_small", "int8", 499.0), row("efficientnet_b0", "fp32", 120.0)]
    assert towers.missed(bad) == ["mobilenetv4_conv_small int8: 499x, claimed 500x"]


@pytest.mark.slow
def test_small_files_race_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        towers.TOWERS, towers.TEACHER, ("teacher", 64, lambda: towers.vit(64, 2, 32, 64, 32))
    )
    entries = [
        towers.tower_file(towers.TEACHER, tmp_path),
        *towers.student_files("test_efficientnet", ("fp32",), tmp_path),
    ]
    rows = towers.race(entries, 0.5, 1)
    assert {made["kind"] for made in rows} == {"teacher", "student"}
    assert all(
        made["p50_ms"] > 0 and made["cold"]["load_ms"] > 0 and made["params"] > 1000
        for made in rows
    )
    facts = {"command": "c", "host": {"cpu": "x"}, "threads": 1, "onnxruntime": "1"}
    record = {**facts, "rows": rows, "missed": []}
    assert "Every claimed factor is reached" in towers.markdown(json.loads(json.dumps(record)))
