"""The command on a folder: table, CSV and sheet; bad files and copies; the same each time."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundles import class_photos, encoded, make_bundle, photo, rejecting_bundle
from typer.testing import CliRunner

from compress.cli.app import app
from compress.engine.errors import DataError
from compress.suggest.artifact import COLUMNS, GAP_PX, TILE_PX, SuggestionArtifact
from compress.suggest.choose import choose, uncertainties
from compress.suggest.suggest import suggest_images
from runtime import Classifier
from runtime.classifier import softmax
from runtime.errors import BundleError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("bundle")
    return rejecting_bundle(scratch / "bundle", scratch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = class_photos(tmp_path / "photos" / "below", 5)
    for seed in range(8):
        (place.parent / f"{seed}.png").write_bytes(encoded(photo(seed)))
    (place.parent / "=copy.png").write_bytes(encoded(photo(3)))
    (place.parent / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    return place.parent


def test_the_choice_is_that_of_the_models_answers(bundle: Path, folder: Path) -> None:
    result = suggest_images(bundle, folder, 6, precision="fp32", threads=1)
    model = Classifier.load(bundle, "fp32", threads=1)
    files = [folder / "=copy.png", *(folder / f"{seed}.png" for seed in range(8) if seed != 3)]
    files = sorted([*files, *(folder / "below").iterdir()])
    probabilities = softmax(model.logits(files) / np.float32(model.temperature))
    rule = model.rejection
    want = choose(
        model.features(files).astype(float),
        uncertainties(probabilities),
        rule.prototypes.astype(float),
        6,
    )
    names = [str(files[one.index].relative_to(folder)) for one in want]
    assert [row.path for row in result.rows] == names
    assert result.images == 13 and result.copies == 1 and list(result.unreadable) == ["bad.jpg"]
    for row, one in zip(result.rows, want, strict=True):
        shown = model.predict(files[one.index], 2)
        assert (row.guess, row.second) == tuple(guess.label for guess in shown)
        assert row.known is shown[0].known and row.probability == pytest.approx(
            shown[0].probability
        )


def test_files_are_whole_and_the_same_each_time(bundle: Path, folder: Path, tmp_path: Path) -> None:
    command = ["suggest", str(bundle), str(folder), "--count", "7", "--quiet"]
    for name in ("a", "b"):
        done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
    assert "cannot be read: bad.jpg" in done.output and "1 more are copies" in done.output
    one, two = (SuggestionArtifact(tmp_path / name) for name in ("a", "b"))
    assert one.csv.read_bytes() == two.csv.read_bytes()
    assert one.sheet.read_bytes() == two.sheet.read_bytes()
    with one.csv.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 8)]
    assert all(row["label"] == "" and float(row["score"]) >= 0 for row in rows)
    assert not any(row["path"].startswith("=") for row in rows)
    width = COLUMNS * (TILE_PX + GAP_PX) + GAP_PX
    assert Image.open(one.sheet).size == (width, 2 * (TILE_PX + GAP_PX) + GAP_PX)


def test_what_cannot_be_asked(bundle: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "gone"):
        with pytest.raises(DataError, match="holds no image"):
            suggest_images(bundle, place, 3)
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "a.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="no image of .* can be read.*a.jpg"):
        suggest_images(bundle, bad, 3)
    old = make_bundle(tmp_path / "old", tmp_path)
    with pytest.raises(BundleError, match="has no features.*compress build"):
        suggest_images(old, folder, 3)
    done = CliRunner().invoke(app, ["suggest", str(bundle), str(folder), "--count", "0"])
    assert done.exit_code == 2
