"""The search: pruning, the choice, a budget that nothing keeps, and a whole one (slow)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from search_candidates import large, small

import compress
from compress.budgets.grammar import parse_budget
from compress.engine.errors import BudgetError, BudgetUnmetError, ConfigError
from compress.search.record import EVENTS, RESULT
from compress.search.search import largest, pick, precision_of, prune

HOST = ("host",)


def test_a_precision_that_breaks_a_limit_is_dropped_and_says_which() -> None:
    found = [small(), large()]
    prune(found, parse_budget("p50<=1ms, size<=2MB, drop<=1pt"), HOST)
    assert [c.fitting for c in found] == [("fp32", "int8"), ("int8",)]
    assert found[1].reasons == {"fp32": "p50<=1ms@host: 2 ms; size<=2MB: 4 MB"}
    assert precision_of(found[0], HOST) == ("fp32", "auto") and precision_of(found[1], HOST) == (
        "int8",
        "int8",
    )


def test_the_best_wins_and_among_equals_the_cheapest() -> None:
    def chosen(*scores: float) -> str:
        found = [small(), large()]
        for one, score in zip(found, scores, strict=True):
            one.rungs = [replace(one.rungs[-1], agreement=score)]
            one.fitting = ("fp32", "int8")
        return pick(found, HOST)[0].student

    assert chosen(0.80, 0.90) == "large"
    assert chosen(0.885, 0.90) == "small"  # within the standard error of 0.02
    assert chosen(0.95, 0.90) == "small"
    alone = small()
    alone.rungs = []
    assert "only candidate" in pick([alone], HOST)[1]


def test_the_largest_that_fit_are_trained_and_the_others_say_why() -> None:
    found = [small(), large()]
    for one in found:
        one.fitting = ("int8",)
    kept = largest(found, 1)
    left = next(one for one in found if one is not kept[0])
    assert len(kept) == 1 and "budget.most" in left.reasons["int8"]


def test_a_budget_that_nothing_keeps_fails_before_training_and_names_the_nearest(
    smoke_work: Path,
) -> None:
    options: dict[str, Any] = {
        "shots": 1,
        "preset": "smoke",
        "work_dir": smoke_work,
        "name": "too-tight",
    }
    before = {path.name for path in (smoke_work / "store" / "distill").iterdir()}
    narrow = {"budget": {"students": ["petal_cnn_w4"], "sizes": [32], "seconds": 0.1}}
    with pytest.raises(
        BudgetUnmetError, match=r"nearest is petal_cnn_w4 at 32 px, int8.*size<=1kB"
    ):
        compress.build("petals", budget=["size<=1kB"], overrides=narrow, **options)
    assert {path.name for path in (smoke_work / "store" / "distill").iterdir()} == before
    folder = smoke_work / "runs" / "too-tight"
    events = [json.loads(line) for line in (folder / EVENTS).read_text().splitlines()]
    assert [event["event"] for event in events] == ["budget", "candidate", "nothing fits"]
    assert (
        json.loads((folder / RESULT).read_text())["chosen"] is None
        and not (folder / "bundle").exists()
    )


def test_options_that_do_not_go_together_are_refused(smoke_work: Path) -> None:
    options: dict[str, Any] = {"shots": 1, "preset": "smoke", "work_dir": smoke_work}
    with pytest.raises(ConfigError, match="judged at the end"):
        compress.build("petals", budget=["size<=1MB"], until="data", **options)
    with pytest.raises(ConfigError, match="no budget"):
        compress.build("petals", benches=[smoke_work / "bench.json"], **options)
    with pytest.raises(BudgetError, match="absent.json cannot be read"):
        absent = {"budget": {"calibration": [str(smoke_work / "absent.json")]}}
        compress.build("petals", budget=["size<=1MB"], overrides=absent, name="absent", **options)


@pytest.mark.slow
def test_a_whole_search_ends_in_a_bundle_and_resumes(smoke_work: Path) -> None:
    options: dict[str, Any] = {
        "shots": 1,
        "preset": "smoke",
        "work_dir": smoke_work,
        "name": "searched",
    }
    narrow = {
        "budget": {
            "students": ["petal_cnn_w4", "petal_cnn_w8", "petal_cnn"],
            "seconds": 0.1,
            "held_out": 4,
        }
    }
    first = compress.build(
        "petals", budget=["size<=200kB, p50<=1s, drop<=95pt"], overrides=narrow, **options
    )
    report = first.report
    assert {row["pass"] for row in report["budgets"]} == {True} and {
        row["basis"] for row in report["budgets"]
    } == {"measured"}
    chosen = [row for row in report["candidates"] if row["status"] == "chosen"]
    assert (
        len(chosen) == 1
        and chosen[0]["student"] == report["student"]["name"] == first.settings.distill.student
    )
    assert (
        chosen[0]["measured"]["untrained"] is False
        and chosen[0]["top1"] == report["accuracy"]["student_int8"]["top1"]
    )
    large = next(
        row
        for row in report["candidates"]
        if (row["student"], row["precision"]) == ("petal_cnn", "fp32")
    )
    assert large["status"] == "pruned" and "size<=200kB" in large["why"]
    assert any("chosen with times measured" in state for state in report["states"])
    assert "petal_cnn_w4" in (first.folder / "report.html").read_text()
    events = (first.folder / EVENTS).read_text()
    again = compress.build(
        "petals", budget=["size<=200kB, p50<=1s, drop<=95pt"], overrides=narrow, **options
    )
    assert again.made == [] and (again.folder / EVENTS).read_text() == events
    config = first.folder / "config.yaml"
    repeated = compress.build(config_file=config, work_dir=smoke_work, name="repeated")
    assert repeated.made == [] and not (repeated.folder / EVENTS).exists()
    same = [(run.bundle / "manifest.json").read_bytes() for run in (first, repeated)]
    assert same[0] == same[1] and repeated.report["budgets"] == report["budgets"]
