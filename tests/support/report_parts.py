"""The smallest report, and reports with some parts of a test's own."""

from __future__ import annotations

from typing import Any

from compress.report.model.report import Report, parse

SMALLEST: dict[str, Any] = {
    "schema": 1,
    "headline": "",
    "dataset": {"name": "one", "classes": 1, "shots": 1, "test_images": 0, "class_names": ["a"]},
    "teacher": {"name": "clip", "params": None, "top1": None, "zero_shot_top1": None},
    "student": {"name": "small", "params": None, "shipped": "student_int8"},
    "synthetic": {"images": 0, "per_class": None, "strategy": "none"},
    "accuracy": {},
    "paired": {},
    "latency": [],
    "speedup_vs_teacher": {"p50": None, "ci95": None},
    "size_bytes": {},
    "budgets": [],
    "verdicts": {"ship": {"file": "", "precision": "int8", "reason": ""}, "gates": []},
    "timings_s": {},
    "environment": {},
    "provenance": {},
    "states": [],
    "repeat": "",
}


def report_with(**parts: Any) -> Report:
    """The smallest report, with ``parts`` in it."""
    return parse({**SMALLEST, **parts})
