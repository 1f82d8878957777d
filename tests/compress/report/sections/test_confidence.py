"""Confidence, images of no class and worse images, in words and pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest
from finished_runs import Finished
from report_parts import report_with

from compress.report.charts.pictures import passed
from compress.report.model.report import Report, parse
from compress.report.page import Material, render_html, render_markdown
from compress.report.sections import confidence

BINS = [
    {"low": 0.5, "high": 1.0, "count": 10, "confidence": 0.8, "accuracy": 0.75},
    {"low": 0.0, "high": 0.5, "count": 0, "confidence": None, "accuracy": None},
]
KIND = {"wanted": 200, "others": 64, "auroc": 0.99, "fpr95": 0.02, "passed": 0.03}
CLEAN = {"top1": 0.9, "ci95": [0.8, 0.95], "known": 0.95}


def part(**more: Any) -> dict[str, Any]:
    return {
        "temperature": {"models": {"int8": 1.36}, "fitted_on": "labeled images", "n": 192},
        "reliability": {"student_int8": BINS},
        "rejection": {
            "score": "combined",
            "threshold": -1.4,
            "keep": 0.95,
            "wanted": 200,
            "kept": 0.94,
            "kept_ci95": [0.9, 0.965],
            "kinds": {"noise": KIND, "broken frames": {**KIND, "auroc": 0.91, "passed": 0.2}},
            "pictures": [
                {"kind": "broken frames", "label": "rose", "confidence": 0.7, "above": 0.1}
            ],
            "set_on": "labeled images",
            "n": 192,
            "chosen_by": {
                "energy": {"noise": 0.9, "left_out": 0.8},
                "combined": {"noise": 1.0, "left_out": 0.9},
            },
        },
        "stress": {
            "n": 64,
            "clean": CLEAN,
            "kinds": {
                "noise": [
                    {**CLEAN, "severity": s, "strength": 0.1 * s, "top1": 0.9 - 0.15 * s}
                    for s in range(1, 6)
                ],
                "jpeg": [{**CLEAN, "severity": s, "strength": 30 - s} for s in range(1, 6)],
            },
        },
        **more,
    }


def accuracy(ece: float = 0.08, honest: float = 0.03) -> dict[str, Any]:
    row = {"n": 200, "top1": 0.9, "ci95": [0.85, 0.94], "macro_f1": 0.9, "ece": ece, "nll": 0.4}
    return {"student_int8": {**row, "calibrated": {"temperature": 1.36, "ece": honest, "nll": 0.3}}}


def report(**more: Any) -> Report:
    return report_with(accuracy=accuracy(), confidence=part(**more))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [(0.08, 0.03, "a smaller"), (0.03, 0.08, "a larger"), (0.08, 0.0801, "the same")],
)
def test_the_calibration_error_is_told_as_it_is(before: float, after: float, words: str) -> None:
    told = confidence.temperature_sentence(
        report_with(accuracy=accuracy(before, after), confidence=part())
    )
    assert "temperature of 1.36, fitted on 192 labeled images" in told
    assert f"{words} error on the test split" in told and "no answer changes" in told


def test_where_it_was_fitted_on_answers_the_reason_is_told() -> None:
    fitted = {
        "models": {"int8": 2.0},
        "fitted_on": "the teacher's answers to views of training images",
        "n": 256,
        "because": "every labeled image is a shot",
    }
    told = confidence.temperature_sentence(report(temperature=fitted))
    assert "256 views that the teacher answered of training images" in told
    assert "(every labeled image is a shot)" in told


def test_rejection_names_its_price_and_its_weakest_kind() -> None:
    told = confidence.rejection_sentence(report())
    assert "set to keep 95\u202f% of 192 labeled images" in told
    assert "Of 200 test images it keeps 94.0\u202f% (95 % CI 90.0–96.5)" in told
    assert "Hardest to tell: broken frames, AUROC 0.910, 20.0\u202f% pass" in told
    assert [name for name, _ in confidence.unknown_rows(report())] == ["broken frames", "noise"]
    kinds, rows = confidence.score_rows(report())
    assert kinds == ["noise", "left out"]
    assert [(chosen, values) for _, chosen, values in rows] == [
        (False, [0.9, 0.8]),
        (True, [1, 0.9]),
    ]


def test_the_corruptions_that_cost_are_named() -> None:
    told = confidence.stress_sentence(report())
    assert "at severity 3 noise −45\u202fpoints." in told and "JPEG" not in told
    for shown, drawing in confidence.stress_plots(report()):
        root = ElementTree.fromstring(drawing)
        assert shown in ("wide", "narrow") and root.get("role") == "img"
        label = root.get("aria-label") or ""
        assert "from 90\u202f% to, at severity 5: noise 15\u202f%, JPEG 90\u202f%" in label
        lines = [e.get("points", "") for e in root.iter("polyline") if "ecdf" in e.get("class", "")]
        ends = [float(points.split()[-1].split(",")[1]) for points in lines]
        assert len(lines) == 2 and ends[0] > ends[1], "noise ends lower than JPEG"


def test_pages_hold_it_and_a_report_of_before_does_without() -> None:
    rejection = report().confidence.rejection
    assert rejection is not None
    shown = passed(rejection.pictures, np.zeros((1, 8, 8, 3), np.uint8))
    html = render_html(report(), Material(passed=shown))
    for words in ('id="field"', "Images of no class", "rose, 70", "Worse images", "chosen"):
        assert words in html
    markdown = render_markdown(report())
    assert "## In the field" in markdown and "| broken frames | 64 | 0.910 |" in markdown
    assert "| noise | 90.0\u202f% | 75.0\u202f% |" in markdown
    old = report_with()
    assert 'id="field"' not in render_html(old, Material())
    assert "In the field" not in render_markdown(old)
    assert confidence.temperature_sentence(old) == confidence.stress_sentence(old) == ""


def test_a_finished_run_has_every_part(finished: Finished) -> None:
    made = parse(finished.report)
    part_of = made.confidence
    assert part_of.temperature is not None and part_of.temperature.n == 60
    honest = made.accuracy["student_int8"].calibrated
    assert honest is not None and honest.temperature == 1.5
    assert "calibrated" not in (made.accuracy["teacher"].model_extra or {})
    assert made.accuracy["teacher"].calibrated is None
    assert set(part_of.reliability) == {"student_fp32", "student_int8", "student_int8_trt"}
    assert part_of.rejection is not None and part_of.stress is not None
    assert set(part_of.rejection.chosen_by) == {"max_logit", "energy"}
    html = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert 'href="#field"' in html and "As the runtime tells it" in html
    gates = [gate.what for gate in made.verdicts.gates]
    assert any("in a class of 20 or more test images" in what for what in gates)
