"""The report in a headless Chromium, from a desk to a phone: nothing hangs over the edge, nothing
is fetched.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
from finished_runs import Finished
from paths import ROOT
from report_devices import BUDGETS, CANDIDATES, SENSITIVITY, three_devices

from benchmarks.browser import find_chromium, run_page
from compress.report import merge
from compress.report.model import report as model
from compress.report.page import Material, render_html

LOOK = ROOT / "tests" / "pages" / "report.html"


def test_chromium_shows_the_whole_page_at_every_width(finished: Finished, tmp_path: Path) -> None:
    if find_chromium() is None:
        pytest.skip("no Chromium: apt install chromium, or set CHROMIUM")
    bundle = finished.stages["export"].path / "bundle"
    report = {
        **copy.deepcopy(finished.report),
        "budgets": BUDGETS,
        "candidates": CANDIDATES,
        "sensitivity": SENSITIVITY,
    }
    report["devices"] = [merge.shortened(bench) for bench in three_devices(bundle).values()]
    shots = [
        {"key": f"train/{i}.jpg", "label": i % 12, "x": i / 72, "y": i % 7 / 7} for i in range(72)
    ]
    doubt = {"key": "train/5.jpg", "label": "a", "nearest": "b" * 60, "margin": 0.4}
    report["images"] = {**report["images"], "judged": 72, "map": shots, "relabel": [doubt]}
    model.parse(report)
    (tmp_path / "report.html").write_text(render_html(model.parse(report), Material()))
    shutil.copyfile(LOOK, tmp_path / "look.html")
    said = run_page(tmp_path, "look.html", timeout_s=120)
    for width, seen in said.items():
        assert seen["overflow"] <= 0, f"at {width} px the page scrolls sideways: {seen['wide'][:3]}"
        assert seen["outside"] == [], f"at {width} px something hangs over the edge"
        assert seen["requests"] == [], "the page asks for nothing else"
        assert all(wide != narrow for wide, narrow in seen["pairs"]), (
            "one drawing of each pair is shown"
        )
        assert wide_drawings(seen) == (int(width) > 760)
    assert said["1200"]["first"] < 800, (
        "what ships, how it compares and the budget stand on the first screen"
    )
    assert said["390"]["small"] == [], "labels can be read on a phone"


def wide_drawings(seen: dict[str, list[list[bool]]]) -> bool:
    """Whether the drawings for wide pages are shown."""
    return all(wide for wide, _ in seen["pairs"])
