"""The section "In your app": one figure of each kind, none where it was not measured."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from finished_runs import Finished
from report_runs import full

from compress.report.model import report as model
from compress.report.page import render_markdown
from compress.report.sections.embed import facts

PART = {"geometry_ms": 1.0, "normalise_ms": 0.5, "compute_ms": 2.0, "post_ms": 0.5}
PART |= {"decode_ms": 4.0, "end_to_end_ms": 8.0, "bare_ms": 6.0, "over_bare": 1.3}


def told(report: dict[str, object]) -> dict[str, str]:
    return {fact.what: f"{fact.value} | {fact.note}" for fact in facts(model.parse(report))}


def test_figures_of_the_shipped_file(finished: Finished, run: Path) -> None:
    report = copy.deepcopy(full(finished, run))
    key = report["student"]["shipped"].removeprefix("student_")
    report["breakdown"] = {key: {**PART, "over_bare_ci95": [1.2, 1.4], "n": 3}}
    report["student"] |= {"macs": 384_000_000, "sha256": {f"student_{key}": "ab" * 32}}
    cold = next(iter(report["cold"].values()))
    report["cold"] = {f"student_{key}": {**cold, "engine_bytes": 33_300_000, "warm_ms": 1.0}}
    found = told(report)
    assert found["a camera frame to its answer"].startswith("250 frames a second | ")
    assert found["an encoded image to its answer"].startswith("125 frames a second | decoded")
    assert found["memory of engine and model"].startswith("33.3")
    assert found["work for one image"].startswith("384")
    assert "SHA-256 abababababababab…" in found["file"]
    assert "an estimate" in found["on xavier-nx"], "a device of the budget that was not measured"
    assert "## In your app" in render_markdown(model.parse(report))


def test_what_was_not_measured_is_left_out(finished: Finished, run: Path) -> None:
    report = copy.deepcopy(full(finished, run))
    report |= {"breakdown": None, "cold": {}, "budgets": []}
    report["student"] |= {"macs": None, "sha256": {}}
    report["confidence"] = {}
    found = told(report)
    assert not any("frame" in what or "memory" in what or "work" in what for what in found)
    assert "named like any other" in found["an image of no class"]


@pytest.mark.parametrize("name", ["macs", "sha256"])
def test_a_build_states_work_and_hash(finished: Finished, name: str) -> None:
    assert finished.report["student"][name]
