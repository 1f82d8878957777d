"""Runs beside each other: paired on the same test images, and nothing said that is not measured."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.compare import sentences
from compress.compare.page import plots, render_html
from compress.compare.runs import compare_runs
from compress.engine.errors import ConfigError
from compress.evaluate.comparison import paired


def copied(
    smoke: Path, folder: Path, change: Callable[[dict[str, Any]], None] | None = None
) -> Path:
    """A copy of the smoke run with its stages in it, and its report changed."""
    shutil.copytree(smoke, folder)
    if change is not None:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        change(report)
        (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return folder


def with_answers(folder: Path, rng: int, share: float) -> None:
    """Turns the right answers of what ships wrong on a share of the test images."""
    file = folder / "bench" / "predictions.npz"
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    shipped = json.loads((folder / "report.json").read_text(encoding="utf-8"))["student"]["shipped"]
    drawn = np.random.default_rng(rng).random(len(arrays["labels"])) < share
    arrays[shipped][drawn] = -arrays[shipped][drawn]
    file.chmod(0o644)
    np.savez_compressed(file, **arrays)


@pytest.fixture
def two(smoke: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The smoke run, and one that answers worse."""
    first, second = (copied(smoke, tmp_path / "runs" / name) for name in ("first", "second"))
    with_answers(second, 1, 0.5)
    return first, second


def test_the_difference_is_that_of_the_paired_answers(two: tuple[Path, Path]) -> None:
    found = compare_runs(two)
    (against,) = found.against
    loaded = []
    for folder in two:
        with np.load(folder / "bench" / "predictions.npz") as stored:
            loaded.append((stored[found.runs[0].report.shipped], stored["labels"]))
    (second, labels), (first, _) = loaded[1], loaded[0]
    assert against.compared == paired(second, first, labels)
    assert against.claim == "below" and against.compared.difference < -0.1
    assert "less accurate" in sentences.difference(against)
    plain = json.loads(found.to_text())
    assert plain["kind"] == "clip2edge-comparison" and len(plain["runs"]) == 2
    assert plain["against"][0]["claim"] == "below"
    assert plain["against"][0]["compared"]["difference"] == against.compared.difference


def test_runs_with_the_same_answers_are_not_told_apart(smoke: Path, tmp_path: Path) -> None:
    folders = [copied(smoke, tmp_path / "runs" / name) for name in ("a", "b")]
    found = compare_runs(folders)
    assert found.against[0].claim == "open"
    page = render_html(found)
    assert "not told apart" in page and page.count("<svg") == 2
    assert "times are of" in page and "src=" not in page


def test_times_of_two_machines_are_not_drawn_together(smoke: Path, tmp_path: Path) -> None:
    def elsewhere(report: dict[str, Any]) -> None:
        report["environment"]["cpu"] = "Cortex-A76"

    first = copied(smoke, tmp_path / "runs" / "a")
    found = compare_runs([first, copied(smoke, tmp_path / "runs" / "b", elsewhere)])
    assert plots(found) == []
    assert any(
        "do not compare" in line and "Cortex-A76" in line for line in sentences.remarks(found)
    )


def test_other_test_images_are_not_compared(two: tuple[Path, Path]) -> None:
    rows = json.loads((two[1] / "data" / "test.json").read_text(encoding="utf-8"))
    rows[0]["key"] = "another.jpg"
    (two[1] / "data" / "test.json").chmod(0o644)
    (two[1] / "data" / "test.json").write_text(json.dumps(rows), encoding="utf-8")
    (against,) = compare_runs(two).against
    assert against.compared is None and "the test images are others" in against.why


def test_without_its_answers_a_run_still_has_its_figures(two: tuple[Path, Path]) -> None:
    shutil.rmtree(two[1] / "bench")
    found = compare_runs(two)
    assert "the answers of second" in sentences.difference(found.against[0])
    assert found.to_json()["runs"][1]["top1"] is not None


def test_what_cannot_be_compared_is_refused(two: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="a comparison needs runs that differ"):
        compare_runs([two[0], two[0]])
    (two[1] / "report.json").unlink()
    with pytest.raises(ConfigError, match="no report yet"):
        compare_runs(two)
