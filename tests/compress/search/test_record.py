"""The rows of candidates in the report."""

from __future__ import annotations

from search_candidates import large, small

from compress.budgets.grammar import parse_budget
from compress.search.record import rows
from compress.search.search import prune

HOST = ("host",)


def test_a_row_is_pruned_trained_or_chosen() -> None:
    found = [small(), large()]
    prune(found, parse_budget("p50<=1ms, size<=2MB"), HOST)
    statuses = {
        (row["student"], row["precision"]): row["status"]
        for row in rows(found, HOST, (found[1], "int8"))
    }
    assert statuses == {
        ("small", "fp32"): "trained",
        ("small", "int8"): "trained",
        ("large", "fp32"): "pruned",
        ("large", "int8"): "chosen",
    }
