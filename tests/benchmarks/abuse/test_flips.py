"""Flipped bytes: damage that is used, or of which nothing is said, is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_builds import toy_shop

from benchmarks.abuse import flips
from benchmarks.abuse.cells import HANG, SILENT


def found(folder: Path, fault: str | None, name: str) -> set[str]:
    shop = toy_shop(folder, fault)
    names = flips.stored_files(shop.smoke, shop.reference(shop.smoke).work)
    scratch = folder / "scratch"
    scratch.mkdir()
    chosen = next(one for one in names if name in one)
    return {fault.kind for fault in flips.run(shop, chosen, scratch).faults}


@pytest.mark.parametrize("name", ["distill", "stage.json", "model.bin"])
def test_a_good_build_notices_and_makes_it_whole(name: str, tmp_path: Path) -> None:
    assert not found(tmp_path, None, name)


@pytest.mark.parametrize("name", ["data.bin", "model.bin"])
@pytest.mark.parametrize(("fault", "kind"), [("trusts", SILENT), ("mute", SILENT), ("hangs", HANG)])
def test_a_planted_fault_is_seen(name: str, fault: str, kind: str, tmp_path: Path) -> None:
    assert kind in found(tmp_path, fault, name)


def test_every_stored_file_has_a_cell_and_locks_have_none(tmp_path: Path) -> None:
    shop = toy_shop(tmp_path)
    names = flips.stored_files(shop.smoke, shop.reference(shop.smoke).work)
    assert len(names) == 7 and not any("lock" in name for name in names)
    assert len(list(flips.cells(shop, 1.0))) == 7
