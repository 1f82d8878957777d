"""The page of an evaluation in a headless Chromium, from a desk to a phone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from image_folders import fill
from paths import ROOT

from benchmarks.browser import find_chromium, run_page
from compress import api
from compress.assess.artifact import EvaluationArtifact

LOOK = ROOT / "tests" / "pages" / "report.html"


def test_nothing_hangs_over_the_edge_and_nothing_is_fetched(bundle: Path, tmp_path: Path) -> None:
    if find_chromium() is None:
        pytest.skip("no Chromium: apt install chromium, or set CHROMIUM")
    for number, name in enumerate(("rose", "iris", "daisy", "oak")):
        fill(tmp_path / "garden" / name / ("long_name" * 8), 6, seed=100 * number)
    (tmp_path / "garden" / "iris" / "bad.jpg").write_text("x", encoding="utf-8")
    files = EvaluationArtifact(tmp_path)
    files.write_page(api.evaluate(bundle, tmp_path / "garden"))
    files.html.rename(tmp_path / "report.html")
    shutil.copyfile(LOOK, tmp_path / "look.html")
    said = run_page(tmp_path, "look.html", timeout_s=120)
    assert len(said) > 2
    for width, seen in said.items():
        assert seen["overflow"] <= 0, f"at {width} px the page scrolls sideways: {seen['wide'][:3]}"
        assert seen["outside"] == [] and seen["requests"] == []
