"""The section "Other domains": accuracy where the shots do not come from, in rows and in words,
from report.json alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compress.report import wording
from compress.report.wording import form, interval, percent, points


def domain_name(name: str) -> str:
    """``"art_painting"`` -> ``"art painting"``."""
    return name.replace("_", " ")


def domain_columns(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One column per domain, the run's own first: name, images, shots (whether they come from
    there).
    """
    found = report.get("domains")
    if not found:
        return []
    return [
        {
            "name": domain_name(name),
            "images": next(iter(found["tests"][name].values()))["n"],
            "shots": name == found["own"] and bool(report["dataset"]["shots"]),
        }
        for name in found["order"]
    ]


def domain_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per form: key, form, ships, cells [(top-1, interval)] in the order of the columns,
    mean, others.
    """
    found = report.get("domains")
    if not found:
        return []
    tests, shipped = [found["tests"][name] for name in found["order"]], report["student"]["shipped"]
    return [
        {
            "key": name,
            "form": form(name),
            "ships": name == shipped,
            "cells": [
                (percent(rows[name]["top1"]), interval(rows[name]["ci95"])) for rows in tests
            ],
            "mean": percent(found["mean_top1"][name]),
            "others": percent(found["mean_top1_others"][name]),
        }
        for name in wording.FORMS
        if name in found["mean_top1"]
    ]


def domain_sentence(report: Mapping[str, Any]) -> str:
    """Where the shots come from, how far the student falls elsewhere, and how much of that is the
    teacher's own.
    """
    found, shipped = report.get("domains"), report["student"]["shipped"]
    if not found or shipped not in found["mean_top1"]:
        return ""
    own, tests, others = found["own"], found["tests"], found["order"][1:]
    count = len(others)
    here, there = tests[own][shipped]["top1"], found["mean_top1_others"][shipped]
    weakest = min(others, key=lambda name: tests[name][shipped]["top1"])
    named = domain_name(own)
    text = (
        f"All shots come from {named}. "
        if report["dataset"]["shots"]
        else "No real image was trained on. "
    )
    text += f"On {named}, {form(shipped)} names {percent(here)} right, "
    if count > 1:
        least = f"{domain_name(weakest)} ({percent(tests[weakest][shipped]['top1'])})"
        text += (
            f"on the other {count} domains {percent(there)} on average "
            f"({points(there - here)}), least on {least}."
        )
    else:
        text += f"on {domain_name(weakest)} {percent(there)} ({points(there - here)})."
    if "teacher" in tests[own]:
        fall = found["mean_top1_others"]["teacher"] - tests[own]["teacher"]["top1"]
        text += (
            f" Its teacher changes by {points(fall)} from {named} to the "
            f"{'others' if count > 1 else 'other'}."
        )
    return text
