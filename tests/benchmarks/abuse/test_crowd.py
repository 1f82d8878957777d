"""Crowds: builds that harm each other are seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_builds import toy_shop

from benchmarks.abuse import crowd
from benchmarks.abuse.cells import HANG, LOST, SILENT


def found(folder: Path, fault: str | None, kind: str) -> tuple[set[str], dict[str, int]]:
    good = toy_shop(folder, seconds=0.2)
    list(crowd.cells(good, 1.0))  # undisturbed builds of both settings
    shop = toy_shop(folder, fault, seconds=0.2)
    scratch = folder / "scratch"
    scratch.mkdir()
    outcome = crowd.run(shop, kind, "seed", scratch)
    return {fault.kind for fault in outcome.faults}, outcome.facts


@pytest.mark.parametrize("kind", crowd.KINDS)
def test_good_builds_wait_for_each_other_or_say_so(kind: str, tmp_path: Path) -> None:
    kinds, facts = found(tmp_path, None, kind)
    assert not kinds
    assert facts["built"] >= 1 and facts["built"] + facts["locked"] == crowd.BUILDS


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("mumbles", SILENT),
        pytest.param("dice", LOST, marks=pytest.mark.slow),
        pytest.param("hangs", HANG, marks=pytest.mark.slow),
    ],
)
def test_a_planted_fault_is_seen(fault: str, kind: str, tmp_path: Path) -> None:
    kinds, _ = found(tmp_path, fault, crowd.KINDS[0])
    assert kind in kinds


def test_full_scale_has_five_rounds_of_each_kind(tmp_path: Path) -> None:
    names = [cell.name for cell in crowd.cells(toy_shop(tmp_path), 1.0)]
    assert len(set(names)) == len(names) == 20
