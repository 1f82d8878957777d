"""Commands about a finished bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from image_folders import fill
from tiny_bundles import make_bundle
from typer.testing import CliRunner

from compress.cli.app import app
from compress.engine.errors import StoreError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("used") / "bundle"
    return make_bundle(folder, tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    for number, name in enumerate(("rose", "iris")):
        fill(tmp_path / "garden" / name, 4, seed=100 * number)
    (tmp_path / "garden" / "rose" / "bad.jpg").write_text("x", encoding="utf-8")
    return tmp_path / "garden"


def run(*command: object) -> Result:
    return CliRunner().invoke(app, [str(part) for part in command])


def test_evaluate_prints_figures_classes_and_what_is_wrong(bundle: Path, garden: Path) -> None:
    ended = run("evaluate", bundle, garden)
    assert ended.exit_code == 0, ended.exception
    for text in (
        "of 8 images of garden",
        "95 % CI",
        "macro F1",
        "ECE",
        "taken for",
        "rose/bad.jpg",
    ):
        assert text in ended.stdout
    assert "2 labels of the bundle without images: daisy, tulip" in ended.stdout


def test_evaluate_writes_json_and_a_page(bundle: Path, garden: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    ended = run("evaluate", bundle, garden, "--out", out, "--json", "--precision", "fp32")
    assert ended.exit_code == 0, ended.exception
    printed = json.loads(ended.stdout)
    assert printed == json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert printed["n"] == 8 and printed["precision"] == "fp32"
    assert "<h1>fp32 names" in (out / "evaluation.html").read_text(encoding="utf-8")


def test_evaluate_writes_the_page_alone(
    bundle: Path, garden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run("evaluate", bundle, garden, "--html", "--quiet").exit_code == 0
    assert [path.name for path in Path().iterdir()] == ["evaluation.html"]


def test_a_place_that_takes_no_files_is_refused_before_the_work(
    bundle: Path, garden: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ended = run("evaluate", bundle, tmp_path / "no such folder", "--out", tmp_path / "file")
    assert isinstance(ended.exception, StoreError) and "no folder stands" in str(ended.exception)
