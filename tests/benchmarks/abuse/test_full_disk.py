"""Full disks: an error that does not say so is seen, and so is what it cost."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from toy_builds import toy_shop

from benchmarks.abuse import full_disk
from benchmarks.abuse.cells import HANG, LOST, SILENT, TRACEBACK, Cell, Outcome, run_cells
from benchmarks.abuse.disk import PAGE, CannotMount, Write


def can_mount() -> bool:
    program = "import sys, pathlib; from benchmarks.abuse.disk import mounted\n"
    program += "with mounted(pathlib.Path(sys.argv[1]), 1): pass"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True)
    return done.returncode == 0


needs_root = pytest.mark.skipif(not can_mount(), reason="cannot mount a tmpfs here (needs root)")


def outcomes(folder: Path, fault: str | None, scale: float) -> dict[Cell, Outcome]:
    good = toy_shop(folder)
    list(full_disk.cells(good, 0.01))  # the undisturbed stages are a good toy's
    shop = toy_shop(folder, fault)
    return run_cells(full_disk.cells(shop, scale), folder, 2)


@needs_root
def test_a_good_build_says_so_and_ends_later(tmp_path: Path) -> None:
    done = outcomes(tmp_path, None, 0.3)
    assert all(outcome.is_clean for outcome in done.values()), done
    assert 2 in {outcome.facts["code"] for outcome in done.values()}
    assert {cell.name.rpartition("-")[2] for cell in done} >= {full_disk.BEFORE, full_disk.FILES}


@needs_root
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("raw", TRACEBACK),
        pytest.param("mumbles", SILENT, marks=pytest.mark.slow),
        pytest.param("deaf", SILENT, marks=pytest.mark.slow),
        pytest.param("dice", LOST, marks=pytest.mark.slow),
        pytest.param("hangs", HANG, marks=pytest.mark.slow),
    ],
)
def test_a_planted_fault_is_seen(fault: str, kind: str, tmp_path: Path) -> None:
    done = outcomes(tmp_path, fault, 0.02 if fault == "hangs" else 0.3)
    assert kind in {fault.kind for outcome in done.values() for fault in outcome.faults}


def test_what_cannot_be_mounted_is_skipped_and_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise CannotMount("needs root")

    monkeypatch.setattr(full_disk, "mounted", refuse)
    done = run_cells(full_disk.cells(toy_shop(tmp_path), 0.1), tmp_path, 1)
    assert [outcome.skipped for outcome in done.values()] == ["needs root"]
    assert not any(outcome.is_clean for outcome in done.values())


def test_a_write_has_up_to_three_ways_to_fail() -> None:
    writes = [
        Write(0, "os.mkdir", "a", 0),
        Write(1, "open", "a/b", 0),
        Write(2, "os.rename", "a/c", 5 * PAGE),
    ]
    made = [
        (write.number, way, left) for each in full_disk.ways(writes) for write, way, left in each
    ]
    assert made == [
        (0, full_disk.BEFORE, 0),
        (0, full_disk.FILES, 0),
        (1, full_disk.BEFORE, 0),
        (1, full_disk.WITHIN, 4 * PAGE),
        (1, full_disk.FILES, 0),
        (2, full_disk.BEFORE, 0),
    ]


@needs_root
def test_full_scale_has_every_way_of_every_write(tmp_path: Path) -> None:
    shop = toy_shop(tmp_path)
    names = [cell.name for cell in full_disk.cells(shop, 1.0)]
    assert len(set(names)) == len(names) > 60
    assert len(list(full_disk.cells(shop, 0.5))) < len({name[:-7] for name in names})
