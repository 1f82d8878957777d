"""The plan for many GPUs: its arithmetic, and that the page has the figures of today's defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
from paths import ROOT

from benchmarks import scale_plan
from benchmarks.scale_plan import Plan, job, plans
from compress.api import estimate


def test_the_busiest_worker_decides() -> None:
    plan = Plan("generate", 640, "images", spans=10, hours=5.0, bytes=0)
    assert plan.wall_h(1, 0.0, 0.0) == pytest.approx(5.0)
    assert plan.wall_h(4, 0.0, 0.0) == pytest.approx(1.5), "three of ten tasks"
    assert plan.wall_h(100, 0.1, 36.0) == pytest.approx(0.55 + 0.01), "a task, Ray and loading"


def test_the_page_is_that_of_the_defaults(tmp_path: Path) -> None:
    settings = job()
    shared = list(plans(settings, estimate(settings, work_dir=tmp_path)))
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert scale_plan.tasks(shared) in text, "python -m benchmarks.scale_plan writes it again"
    for link in ("ray-cluster.yaml", "rayjob.yaml", "array.sbatch"):
        assert f"(scale/{link})" in text and (ROOT / "docs" / "scale" / link).is_file()
