"""The benchmarks of the device side: what they claim, and that a claim can fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_bundles import encoded, make_bundle, photo

from benchmarks import cold_torch, end_to_end, relu_twin, towers
from benchmarks.int8_speed import make_files
from compress.papers.statistics import PairedGain


def row(name: str, precision: str, factor: float) -> dict[str, object]:
    return {"name": name, "precision": precision, "speedup": {"p50": factor}}


def test_a_missed_factor_is_named() -> None:
    good = [row("mobilenetv4_conv_small", "int8", 900.0), row("efficientnet_b0", "fp32", 120.0)]
    assert towers.missed(good) == []
    bad = [row("mobilenetv4_conv_small", "int8", 499.0), row("efficientnet_b0", "fp32", 120.0)]
    assert towers.missed(bad) == ["mobilenetv4_conv_small int8: 499x, claimed 500x"]


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
    record = {
        "command": "c",
        "host": {"cpu": "x"},
        "threads": 1,
        "onnxruntime": "1",
        "rows": rows,
        "missed": [],
    }
    assert "Every claimed factor is reached" in towers.markdown(json.loads(json.dumps(record)))


@pytest.mark.parametrize(
    ("gain", "half", "verdict"),
    [
        (-0.2, 0.3, "holds"),
        (-0.2, 2.0, "not shown"),
        (-1.5, 0.1, "**FAILS**"),
        (1.5, 0.1, "holds, the twin is better"),
    ],
)
def test_a_twin_is_judged_by_the_whole_interval(gain: float, half: float, verdict: str) -> None:
    assert relu_twin.said(PairedGain(gain, half, (gain,), 1.0), "fp32").startswith(f"- {verdict}:")


def test_end_to_end_times_both_sides_of_one_model(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", tmp_path)
    made = end_to_end.measure(bundle, encoded(photo(3), "JPEG"), "fp32", 0.3)
    assert made["p50_ms"]["whole"] > made["p50_ms"]["run"] > 0 and made["ratio"].value > 0.5
    assert "| fp32 | 32 |" in end_to_end.table([made])


def test_both_cold_processes_name_the_same_label(tmp_path: Path) -> None:
    weights, onnx = cold_torch.make("test_efficientnet", tmp_path)
    image = tmp_path / "photo.png"
    image.write_bytes(encoded(photo(4, (300, 260))))
    theirs = cold_torch.torch_side("test_efficientnet", weights, image)
    from runtime import Classifier

    assert Classifier.load(onnx, threads=1).predict(image)[0].index == theirs["label"]
    table = cold_torch.table({"runtime": [{**theirs, "import_ms": 1.0}], "torch + timm": [theirs]})
    assert "| first image, ms |" in table and np.isfinite(theirs["process_ms"])


def test_options_reach_timm(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        make_files("test_vit", tmp_path, no_such_option=1)
