"""Budgets and candidates in the report: an estimate stays one, and devices are never mixed."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from report_devices import BUDGETS, CANDIDATES, SENSITIVITY
from report_parts import SMALLEST, report_with

from compress.report.charts import budget as plots_budget
from compress.report.model.report import Report
from compress.report.sections import budget, sensitivity


def report(**more: Any) -> Report:
    teacher = {**SMALLEST["teacher"], "top1": 0.967}
    return report_with(**{"budgets": BUDGETS, "candidates": CANDIDATES, "teacher": teacher, **more})


def limit(passed: bool | None, basis: str = "measured") -> dict[str, Any]:
    return {**BUDGETS[0], "pass": passed, "basis": basis, "value": None if passed is None else 0.1}


@pytest.mark.parametrize(
    ("rows", "stamp"),
    [
        ([], "no budget"),
        ([limit(True)], "in budget"),
        ([limit(True), limit(True, "estimate")], "in budget by estimate"),
        ([limit(True), limit(None)], "budget open"),
        ([limit(False, "estimate"), limit(None)], "over budget by estimate"),
        ([limit(True, "estimate"), limit(False), limit(None)], "over budget"),
    ],
)
def test_the_stamp_never_says_more_than_is_known(rows: list[dict[str, Any]], stamp: str) -> None:
    class_, word = budget.budget_stamp(report(budgets=rows))
    assert word == stamp
    assert ("guess" in class_) == ("estimate" in stamp), (
        "a verdict by estimate is drawn with a dashed line"
    )
    assert class_.startswith({"in": "kept", "ov": "missed"}.get(stamp[:2], "open"))


def test_limits_are_written_in_words() -> None:
    rows = report().budgets
    words = [budget.outcome(row)[1] for row in rows]
    assert words == ["PASS", "would pass", "FAIL", "PASS", "not known"]
    assert budget.limit(rows[0]) == "at most 0.200\u202fms"
    assert budget.place(rows[0]) == "this machine"
    assert budget.shown(rows[2].value, rows[2].unit) == "571\u202fkB"
    assert budget.shown(rows[4].value, rows[4].unit) == "–"
    least = {
        **BUDGETS[0],
        "metric": "top1",
        "limit": 90.0,
        "value": 93.5,
        "unit": "%",
        "device": None,
    }
    assert budget.limit(report(budgets=[least]).budgets[0]) == "at least 90.0\u202f%"
    said = budget.budget_sentence(report())
    assert "3 of 5 limits are kept, 1 of them by estimate only" in said
    assert (
        "size of the model file, 571\u202fkB against 400\u202fkB" in said
        and "Not known: energy of one image" in said
    )


def test_an_unknown_metric_is_shown_as_it_was_written() -> None:
    odd = {"what": "flops<=1G", "limit": 1.0, "value": 0.5, "pass": True}
    row = report(budgets=[odd]).budgets[0]
    assert (budget.what(row), budget.outcome(row)[1]) == ("flops<=1G", "PASS")
    assert budget.shown(row.value, row.unit) == "0.500"


def test_a_picture_holds_one_device_and_says_what_is_estimated() -> None:
    here, there, sizes = budget.panels(report())
    assert (here.device, there.device, sizes.metric) == ("host", "xavier-nx", "size")
    assert not any(point.estimate for point in budget.candidate_points(report(), here))
    assert all(point.estimate for point in budget.candidate_points(report(), there))
    assert "estimated" in there.axis and "estimated" not in here.axis
    assert budget.limits(report(), here).cost == 0.2 and budget.limits(report(), there).cost == 0.5
    assert budget.limits(report(), sizes).cost == pytest.approx(0.4)
    assert budget.limits(report(), sizes).top1 == pytest.approx(0.927)


def test_a_size_that_was_halved_in_the_head_is_an_estimate() -> None:
    fp16 = {**copy.deepcopy(CANDIDATES[0]), "precision": "fp16", "measured": None}
    half, whole = report(candidates=[fp16, CANDIDATES[0]]).candidates
    assert budget.cost(half, budget.SIZE) == (571e3, True)
    assert budget.cost(whole, budget.SIZE) == (571e3, False)


def test_estimates_are_hollow_and_untrained_candidates_have_no_accuracy() -> None:
    for panel, hollow in zip(budget.panels(report()), (0, len(CANDIDATES), 0), strict=True):
        points = budget.candidate_points(report(), panel)
        drawn = plots_budget.pareto(points, budget.limits(report(), panel), panel.axis, panel.shown)
        circles = [e for e in ElementTree.fromstring(drawn).iter() if e.tag == "circle"]
        assert sum("hollow" in (e.get("class") or "").split() for e in circles) == hollow
        levels = {e.get("cy") for e, p in zip(circles, points, strict=True) if p.top1 is None}
        assert len(levels) == 1, "on one rail"
        assert "not tested" in drawn and ("(estimate)" in drawn) == bool(hollow)


@pytest.mark.parametrize("count", [1, 2])
def test_few_candidates_without_limits_can_be_drawn(count: int) -> None:
    bare = report_with(candidates=CANDIDATES[-count:])
    plots = budget.pareto_plots(bare)
    assert len(plots) == 3 and all("<svg" in plot for plot in plots)
    assert budget.pareto_plots(report_with()) == []


def test_rows_of_candidates_mark_estimates() -> None:
    rows, panels = budget.candidates(report()), budget.panels(report())
    guesses = [budget.cost_words(rows[0], panel)[1] for panel in panels]
    assert rows[0].status == "chosen" and guesses == [False, True, False]
    assert rows[-1].top1 is None and len(rows) == len(CANDIDATES)
    assert (
        "7 candidates (student, resolution, precision) were considered; 3 were dropped, 4 trained"
        in budget.search_sentence(report())
    )


def test_mixed_models_are_named_by_their_float_blocks() -> None:
    found = report(sensitivity=SENSITIVITY)
    assert found.sensitivity is not None
    assert [sensitivity.mixed_name(point, 4) for point in found.sensitivity.front] == [
        "all int8",
        "1 block float",
        "2 blocks float",
        "3 blocks float",
    ]
    rows = sensitivity.blocks(found)
    assert rows[0].block == "stem" and rows[0].drop_points == 0.31
    assert sensitivity.change_interval(rows[0]) == "−0.50 to −0.10"
    head = next(row for row in rows if row.block == "head")
    assert sensitivity.saved(head) == "−0.00100\u202fms"
    drawn = sensitivity.mixed_plot(found)
    assert drawn.count("disc chosen") == 1 and "(chosen)" in drawn
    assert sensitivity.mixed_plot(report()) == "" and sensitivity.blocks(report()) == []
