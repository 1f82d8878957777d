"""The comparison of recipes of inversion: its verdicts, its distances, and one small run, slow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import inversion
from benchmarks.inversion import RECIPES, Recipe


def rows(*measured: tuple[float, float]) -> dict[str, dict[str, float]]:
    made = [
        {"ms": ms, "both": both, "student": both} | dict.fromkeys(("style", "class"), both)
        for ms, both in measured
    ]
    other = {"diversity": 0.2, "distance": 0.1}
    return {recipe.name: {**row, **other} for recipe, row in zip(RECIPES, made, strict=False)}


def test_three_times_cheaper_needs_the_whole_interval_and_no_loss() -> None:
    assert inversion.verdict(0.0, 0.05, 4.0, 0.5) == "3 times cheaper"
    assert inversion.verdict(-0.1, 0.05, 9.0, 0.5) == "recognized less often"
    assert inversion.verdict(-0.1, 0.15, 3.2, 0.5) == "cheaper"
    assert inversion.verdict(0.1, 0.05, 1.2, 0.5) == "not shown to be cheaper"
    assert inversion.verdict(0.0, float("inf"), 9.0, float("inf")) == "not shown to be cheaper"


def test_the_table_compares_the_time_of_useful_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inversion, "RECIPES", RECIPES[:2])
    seeds = [rows((100, 0.5), (50, 0.8)), rows((100, 0.5), (50, 1.0))]
    first, second = inversion.table(seeds)
    assert first[-1] == "reference" and first[6] == "1.0× ± 0.0"
    assert second[4].startswith("+40.0 ±") and second[6].startswith("3.6×")
    assert list(inversion.table([])) == []


def test_the_distance_is_that_to_the_nearest_image_of_the_class() -> None:
    features = np.eye(4, dtype=np.float32)[[0, 0, 1, 2, 2, 2]]
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert inversion.nearest(features, labels) == pytest.approx(1 / 6)
    assert inversion.nearest(features, np.array([0, 1, 0, 1, 0, 1])) == pytest.approx(2 / 3)


def test_recipes_say_all_of_the_inversion_that_they_compare() -> None:
    """The miniature's own settings may change: a recipe must not."""
    names = {"lr", "betas", "snapshots", "steps", "cutouts", "augment"}
    assert all(names <= set(recipe.options) for recipe in RECIPES)
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)
    assert all(recipe.batch * recipe.options["snapshots"] in (8, 128) for recipe in RECIPES)


@pytest.mark.slow
def test_a_recipe_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**RECIPES[-1].options, "steps": 2, "snapshots": 2, "snapshot_steps": 1}
    recipe = Recipe("tiny", options, 8, True, 2)
    found = inversion.measure(recipe, 0, tmp_path)
    assert {*found} == {"ms", "style", "class", "both", "diversity", "distance", "student"}
    assert found["both"] <= min(found["style"], found["class"]) and found["ms"] > 0
    assert found["distance"] <= found["diversity"] + 1e-5 and 0 <= found["student"] <= 1
    with pytest.raises(SystemExit, match="made already"):
        inversion.measure(recipe, 0, tmp_path)


def test_a_run_measures_what_the_record_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measured(recipe: Recipe, seed: int, work: Path) -> dict[str, float]:
        asked.append((seed, recipe.name))
        return next(iter(rows((100, 0.5)).values()))

    monkeypatch.setattr(inversion, "measure", measured)
    out = tmp_path / "i.json"
    for seeds, recipes in ((1, 1), (2, 2)):
        monkeypatch.setattr(inversion, "RECIPES", RECIPES[:recipes])
        call = ["inversion", "--out", str(out), "--work", str(tmp_path), "--seeds", str(seeds)]
        monkeypatch.setattr("sys.argv", call)
        inversion.main()
    assert [(seed, RECIPES[n].name) for seed, n in ((0, 0), (0, 1), (1, 0), (1, 1))] == asked
    assert "2 seeds; differences" in out.with_suffix(".md").read_text(encoding="utf-8")
