"""The table of the abuse: its counts, its exit code; and a hundredth of all of it, slow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paths import ROOT
from toy_builds import toy_shop

from benchmarks.abuse import __main__ as command
from benchmarks.abuse.builds import Workshop
from benchmarks.abuse.cells import LOST, Cell, Fault, Outcome


def table(outcome: Outcome, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    def cells(shop: Workshop, scale: float) -> Iterator[Cell]:
        yield Cell("kills", f"{scale}", lambda _: outcome)

    monkeypatch.setattr(command, "PARTS", {"kills": cells})
    out = folder / "abuse.json"
    code = command.main(["--work", str(folder), "--out", str(out)], toy_shop(folder))
    assert json.loads(out.read_text())["rows"][0]["part"] == "kills"
    return code, out.with_suffix(".md").read_text(encoding="utf-8")


def test_a_clean_table_ends_with_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, page = table(Outcome(1200), tmp_path, monkeypatch)
    assert code == 0 and "| kills | 1,200 | 0 | 0 | 0 | 0 |" in page


def test_a_fault_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, page = table(Outcome(5, [Fault(LOST, "a")]), tmp_path, monkeypatch)
    assert code == 1 and "| kills | 5 | 1 | 0 | 0 | 0 |" in page


def test_what_was_skipped_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, page = table(Outcome(5, skipped="no root"), tmp_path, monkeypatch)
    assert code == 1 and "skipped: no root" in page and "| kills | 0 |" in page


def test_a_part_run_alone_is_merged_into_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def part(name: str, cases: int) -> Callable[[Workshop, float], Iterator[Cell]]:
        return lambda _, scale: iter([Cell(name, f"{scale}", lambda _: Outcome(cases))])

    monkeypatch.setattr(command, "PARTS", {"kills": part("kills", 1), "crowd": part("crowd", 2)})
    out = tmp_path / "abuse.json"

    def cases(*arguments: str) -> list[tuple[str, int]]:
        common = ["--work", str(tmp_path), "--out", str(out)]
        command.main([*arguments, *common], toy_shop(tmp_path))
        return [(row["part"], row["cases"]) for row in json.loads(out.read_text())["rows"]]

    assert cases("crowd") == [("crowd", 2)]
    assert cases("kills") == [("kills", 1), ("crowd", 2)]
    assert "python -m benchmarks.abuse --work" in out.with_suffix(".md").read_text()
    assert cases("crowd", "--scale", "0.5") == [("crowd", 2)]  # another table


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        command.main(["killz", "--work", str(tmp_path)])


@pytest.mark.slow
def test_a_hundredth_of_all_parts_finds_nothing(tmp_path: Path) -> None:
    out = tmp_path / "abuse.json"
    program = [sys.executable, "-m", "benchmarks.abuse", "--scale", "0.01"]
    done = subprocess.run(
        [*program, "--work", str(tmp_path / "work"), "--out", str(out)],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"},
        capture_output=True,
        text=True,
    )
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert {row["part"] for row in rows} == set(command.PARTS)
    assert not any(row["faults"] for row in rows), done.stdout
    if not any(row["skipped"] for row in rows):  # full disks need root
        assert done.returncode == 0
