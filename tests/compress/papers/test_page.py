"""The page of a table: the paper's figures beside ours, cell by cell, in aligned columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compress.papers import reproduce
from compress.papers.page import page, table
from compress.papers.reproduce import Results, TablePlan


def made(plan: TablePlan, share: float = 0.5) -> Results:
    """Results in which every row gets a share of 200 images right, a little more with each."""
    return {
        (dataset, shots): [
            {
                row: np.arange(200) < round(200 * share) + 2 * place + seed
                for place, row in enumerate(plan.rows_at(shots))
            }
            for seed in range(plan.seeds)
        ]
        for dataset in plan.datasets
        for shots in plan.shots
    }


def cells_of(text: str, row: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {row} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_cell_has_the_papers_figure_beside_it(tmp_path: Path) -> None:
    plan = reproduce.plan_for("sidclip", "full", rows=["CLIP ViT-L/14", "ENB0", "SIDCLIP"])
    plan.seeds = 2
    text = table(plan, made(plan), "cars")
    assert cells_of(text, "row")[:7] == [
        *("row", "strategy", "objective", "0 shots", "printed", "1 shots", "printed")
    ]
    clip = cells_of(text, "CLIP ViT-L/14")
    assert clip[1:6] == ["-", "the teacher", "50.2 ± 0.4", "76.1", "50.2 ± 0.4"]
    assert cells_of(text, "ENB0")[3:7] == ["-", "-", "51.2 ± 0.4", "4.34"]
    assert cells_of(text, "SIDCLIP")[-1] == "80.9"
    widths = {len(line) for line in text.splitlines()}
    bars = {tuple(i for i, c in enumerate(line) if c == "|") for line in text.splitlines()}
    assert len(widths) == len(bars) == 1, "columns are aligned"


def test_rows_that_are_not_made_stand_there_with_their_figures_and_the_reason(
    tmp_path: Path,
) -> None:
    plan = reproduce.plan_for("sidclip", "full", table="table2")
    text = page(plan, made(plan), tmp_path, 1.0)
    assert "`compress reproduce sidclip --table table2 --scale full`" in text
    tiny = cells_of(text, "TinyViT 11M (Popp et al. 2024)")
    assert tiny == [
        *("TinyViT 11M (Popp et al. 2024)", "-", "-"),
        *("not made", "81.9", "not made", "-", "not made", "90.7"),
    ]
    assert "## Not made here" in text and "the authors cite its figures" in text
    assert "all shots" in text and "### Average of all" in text


def test_an_average_over_datasets_has_the_papers_own_beside_it(tmp_path: Path) -> None:
    plan = reproduce.plan_for("cvlm", "full", rows=["CLIP", "Meta L_KD"])
    results = made(plan)
    results["imagenet-3", 0] = [
        {row: np.ones(200, bool) for row in cell} for cell in results["imagenet-3", 0]
    ]
    text = table(plan, results, "average")
    assert cells_of(text, "CLIP")[3:] == ["55.0 ± 0.5", "85.65"]  # ten of 50.5 and one of 100
    assert cells_of(text, "Meta L_KD")[-1] == "64.81"


def test_in_another_world_the_papers_average_or_each_of_its_datasets_stands_beside(
    tmp_path: Path,
) -> None:
    plan = reproduce.plan_for("sasaki", rows=["SUP"])
    text = page(plan, made(plan), tmp_path, 1.0)
    assert cells_of(text, "SUP")[3:] == ["50.5 ± 0.5", "73.2"]
    assert "stl10" in text, "each of its cells is given further down"
    ladder = reproduce.plan_for("sidclip", rows=["SIDCLIP"])
    text = page(ladder, made(ladder), tmp_path, 1.0)
    assert cells_of(text, "row")[4:] == ["paper: cars", "paper: flowers", "paper: food"]
    assert cells_of(text, "SIDCLIP")[4:] == ["69.83", "84.04", "61.05"]


def test_sizes_are_counted_and_nothing_is_built(tmp_path: Path) -> None:
    plan = reproduce.plan_for("cvlm", table="sizes")
    assert plan.cells == 0 and reproduce.run(plan, tmp_path) == {}
    text = page(plan, {}, tmp_path, 0.0)
    assert not list(tmp_path.iterdir())
    clip = cells_of(text, "CLIP")[1:]
    assert clip[0::2] == ["87.85", "63.43", "151.28", "8.82", "5.96", "14.78"]
    assert list(map(float, clip[1::2])) == list(map(float, clip[0::2])), "as the poster prints"
    student = cells_of(text, "Student")[1:]
    assert student[0] == "11.23" and student[1] == "11.68"  # with 100 classes, and with 1,000
    assert float(student[6]) == pytest.approx(2 * float(student[7]), abs=0.02)
    assert plan.page_name == "cvlm-sizes" and "--scale" not in plan.command
