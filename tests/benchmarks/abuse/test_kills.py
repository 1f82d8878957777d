"""Kills: a build that a kill harms is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_builds import toy_shop

from benchmarks.abuse import kills
from benchmarks.abuse.cells import HANG, LOST, TRACEBACK


def found(folder: Path, fault: str | None, count: int) -> tuple[set[str], dict[str, int], int]:
    shop = toy_shop(folder, fault, seconds=0.15)
    scratch = folder / "scratch"
    scratch.mkdir()
    outcome = kills.run(shop, shop.smoke, count, "seed", scratch)
    return {fault.kind for fault in outcome.faults}, outcome.facts, outcome.cases


def test_a_good_build_survives_kills_of_itself_and_of_its_child(tmp_path: Path) -> None:
    kinds, facts, cases = found(tmp_path, None, 6)
    assert not kinds and cases == 6
    assert facts[kills.CHILD] >= 1 and facts[kills.BUILD] >= 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("dice", LOST),
        pytest.param("torn", LOST, marks=pytest.mark.slow),
        pytest.param("raw", TRACEBACK, marks=pytest.mark.slow),
        pytest.param("hangs", HANG, marks=pytest.mark.slow),
    ],
)
def test_a_planted_fault_is_seen(fault: str, kind: str, tmp_path: Path) -> None:
    kinds, _, _ = found(tmp_path, fault, 2 if fault == "hangs" else 12)
    assert kind in kinds


def test_a_finished_stage_that_is_made_again_is_seen(tmp_path: Path) -> None:
    shop = toy_shop(tmp_path)
    work = shop.reference(shop.smoke).work
    assert not kills.made_again(shop.smoke, work, "case")
    log = shop.smoke.folder(work) / "log.jsonl"
    line = '{"event": "%s", "stage": "data", "key": "k"}\n'
    log.write_text(line % "make" + '{"cut' + "\n" + line % "made" + line % "make")
    assert [fault.kind for fault in kills.made_again(shop.smoke, work, "case")] == [LOST]


def test_a_tenth_has_ten_kills_and_leaves_out_the_long_build(tmp_path: Path) -> None:
    shop = toy_shop(tmp_path)
    assert [cell.name for cell in kills.cells(shop, 0.1)] == ["smoke-000", "smoke-005"]
    assert list(kills.default_cells(shop, 0.1)) == []
    every = [*kills.cells(shop, 1.0), *kills.default_cells(shop, 1.0)]
    assert kills.A_CELL * len(every) == 100
