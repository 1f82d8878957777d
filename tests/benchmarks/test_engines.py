"""The matrix of engines on a tiny bundle: every model of every engine, and what was refused."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_bundles import make_bundle

from benchmarks import engines


@pytest.mark.slow
def test_every_engine_answers_beside_onnxruntime(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_bundle(tmp_path / "tiny", tmp_path, features=True)  # ncnn lacks its normalization
    out = tmp_path / "engines.json"
    options = ["--families", "", "--run", f"tiny={made}", "--seconds", "0.3", "--images", "6"]
    assert engines.main([*options, "--out", str(out)]) == 0
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    timed = {row["model"]: row for row in rows if "engine" in row}
    assert {"fp32", "int8"} <= set(timed)
    for row in timed.values():
        assert row["agreement"] == 1.0 and row["largest_share"] < 0.05 and row["images"] == 6
        assert row["bytes"] > 0 and row["load_ms"] > 0 and row["accuracy"] is None
    assert timed["int8"]["integer"] == timed["int8"]["products"] == 4
    page = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "| tiny | int8 | onnxruntime | " in page and "- tiny: onnxruntime: " in page
    assert page.strip() in capsys.readouterr().out
    if find_spec("openvino"):
        assert timed["int8.openvino"]["engine"] == "openvino" and timed["int8.openvino"]["integer"]
    if find_spec("ncnn") and find_spec("pnnx"):
        (refused,) = [row for row in rows if row.get("model") == "fp16.ncnn" and "refused" in row]
        assert "LpNormalization" in refused["refused"] and "refused: " in page


def test_only_formats_with_an_engine_here_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    made = make_bundle(tmp_path / "tiny", tmp_path)
    monkeypatch.setattr(engines, "export_targets", lambda bundle, names, **how: asked.extend(names))
    monkeypatch.setattr(engines, "find_spec", lambda name: name == "openvino" or None)
    assert engines.written(made) == {}
    assert asked == ["int8.openvino", "fp16.openvino", "fp32.openvino"]
