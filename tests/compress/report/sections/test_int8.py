"""The int8 file beside ONNX Runtime's static quantization, in words."""

from __future__ import annotations

from report_parts import report_with

from compress.report.sections.int8 import ptq_sentence


def test_the_time_stands_beside_the_accuracy() -> None:
    ratio = {"p50": 0.8, "ci95": [0.7692, 0.8333], "rounds": 20}
    sentence = ptq_sentence(report_with(speedups={"student_int8_vs_student_ptq": ratio}))
    assert "1.25× its time (95 % CI 1.20× to 1.30×): 1.05× at most is expected." in sentence


def test_an_older_report_without_the_ratio_has_no_such_sentence() -> None:
    assert "its time" not in ptq_sentence(report_with(speedups={}))
