"""Candidates before training: known values, broken limits, offered precisions."""

from __future__ import annotations

from search_candidates import candidate, large, small

from compress.budgets.grammar import parse_budget
from compress.search.candidates import in_words, nearest_miss
from compress.search.search import prune

HOST = ("host",)


def test_other_devices_are_judged_by_their_estimates_and_tails_by_their_median() -> None:
    rows = {
        "pi5": {
            "fp32": {"p50_ms": 9.0, "energy_mj": 90.0},
            "int8": {"p50_ms": 3.0, "energy_mj": 30.0},
        }
    }
    for text, fits in (
        ("p50<=5ms@pi5", ("int8",)),
        ("p99<=5ms@pi5", ("int8",)),
        ("energy<=20mJ@pi5", ()),
        ("p90<=10ms@pi5", ("fp32", "int8")),
    ):
        found = [candidate("x", {}, {"fp32": 4e5, "int8": 1e5}, estimated=rows)]
        prune(found, parse_budget(text), ("pi5",))
        assert found[0].fitting == fits, text
        assert all("(estimate)" in why for why in found[0].reasons.values())


def test_an_unknown_value_breaks_no_limit() -> None:
    found = [small()]
    prune(found, parse_budget("top1>=99%, memory<=1kB, energy<=0.001mJ, load<=0.001ms"), HOST)
    assert found[0].fitting == ("fp32", "int8")


def test_precisions_are_those_of_the_student_and_of_every_device() -> None:
    assert candidate("x", {}, {"fp32": 1.0}, refused={"int8": "why"}).precisions(HOST) == ("fp32",)
    assert candidate("x", {}, {"fp32": 1.0, "int8": 1.0}).precisions(("orin-nano",)) == (
        "fp32",
        "fp16",
        "int8",
    )
    assert candidate("x", {}, {"fp32": 1.0, "int8": 1.0}).precisions(("orin-nano", "pi5")) == (
        "fp32",
        "int8",
    )


def test_the_nearest_miss_is_the_one_with_the_least_excess() -> None:
    limits = parse_budget("p50<=0.1ms, size<=200kB")
    miss = nearest_miss([small(), large()], limits, HOST)
    assert miss is not None and (miss[0].student, miss[1]) == ("small", "fp32")
    assert in_words(miss[2]) == "p50<=0.1ms@host: 0.2 ms; size<=200kB: 400 kB"
    assert nearest_miss([small()], parse_budget("p50<=9ms"), HOST) is None
