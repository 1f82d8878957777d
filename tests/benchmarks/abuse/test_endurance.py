"""Endurance: a leak, a changed answer and a wrong input that is answered are seen."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import pytest
from tiny_bundles import make_bundle

from benchmarks.abuse.cells import LOST, SILENT, TRACEBACK
from benchmarks.abuse.endurance import Call, calls, endure, growth
from runtime import Classifier, ImageError

GOOD, WRONG = Call("image"), Call("no image", is_wrong=True)


def kinds(predict: Any, count: int = 20_000) -> set[str]:
    return {fault.kind for fault in endure(predict, [GOOD, WRONG], count).faults}


def flat(images: str, top_k: int) -> str:
    if images != "image":
        raise ImageError("no image")
    return "a label"


def test_a_tiny_bundle_endures_and_refuses(tmp_path: Path) -> None:
    predict = Classifier.load(make_bundle(tmp_path / "bundle", tmp_path), threads=1).predict
    outcome = endure(predict, calls(tmp_path), 2000)
    assert outcome.cases == 2000 and not outcome.faults


def test_what_is_flat_is_not_a_leak_and_a_leak_is() -> None:
    kept: list[mmap.mmap] = []

    def leak(images: str, top_k: int) -> str:
        pages = mmap.mmap(-1, 200_000)  # never memory that was freed before, as an array's may be
        pages.write(b"x" * 200_000)
        kept.append(pages)
        return flat(images, top_k)

    assert kinds(flat) == set()
    assert kinds(leak, 1000) == {LOST}


def test_growth_is_the_slope_behind_the_warm_up() -> None:
    assert growth([(n * 1000, 10**6 if n < 20 else 10**8) for n in range(100)])[0] == 0
    slope, low, high = growth([(n * 1000, n * 2000) for n in range(100)])
    assert slope == pytest.approx(2e5) and low == pytest.approx(high)
    assert growth([(0, 1)]) == (0, 0, 0)


def test_wrong_answers_are_seen() -> None:
    answers = iter(range(100_000))
    assert kinds(lambda *_: "always", 500) == {SILENT}
    assert SILENT in kinds(lambda *_: next(answers), 500)

    def refuse(*_: object) -> None:
        raise ImageError("no")

    def fail(*_: object) -> None:
        raise KeyError("bug")

    assert kinds(refuse, 500) == {LOST}
    assert kinds(fail, 500) == {TRACEBACK}
