"""The command on a bundle: what it says, its accuracies, its JSON; the same from ``compress``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_bundles import class_photos, growing_bundle
from typer.testing import CliRunner

from compress.cli.app import app
from runtime import Classifier
from runtime.__main__ import main
from runtime.learning.accuracy import hits, labeled_photos


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("source")
    return growing_bundle(scratch / "bundle", scratch)


@pytest.fixture
def work(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(source, tmp_path / "bundle")
    class_photos(tmp_path / "lily", 4)
    (tmp_path / "lily" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    class_photos(tmp_path / "test" / "lily", 5, 20)
    class_photos(tmp_path / "test" / "rose", 5, 40, 2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_says_what_became_of_the_bundle(
    work: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add-class", "bundle", "lily", "--test", "test", "--threads", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("lily: 4 photos, most like ") and "by the others" in said[0]
    assert [row for row in said if "does not count: lily/bad.jpg" in row]
    refused: dict[str, str] = {}
    photos = labeled_photos(work / "test", ("rose", "lily"))
    for column, bundle in ((0, source), (1, work / "bundle")):
        found = hits(Classifier.load(bundle, threads=1), photos, refused)
        (old,) = [row for row in said if row.startswith("old classes")]
        assert old.split()[2 + column] == f"{found['rose'].share:.1%}"
    (new,) = [row for row in said if row.startswith("lily ")]
    assert new.split()[1:] == ["-", f"{found['lily'].share:.1%}", "5"]
    assert said[-1] == f"bundle  {work / 'bundle'}, 5 classes"


def test_json_and_a_new_folder(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(work / "lily")
    class_photos(work / "lily", 1)
    out = ["--out", "new", "--name", "stripes", "--json"]
    assert main(["add-class", "bundle", "lily", *out]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["labels"] == 5 and said["bundle"] == str(work / "new")
    (one,) = said["classes"]
    assert one["name"] == "stripes" and one["photos"] == 1 and one["found"]["fp32"] is None
    assert len(Classifier.load("bundle").labels) == 4


def test_errors_are_one_line(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["add-class", "bundle", "lily", "--name", "rose"]) == 2
    assert "has this class already" in capsys.readouterr().err
    assert main(["add-class", "bundle", "lily", "--test", "lily"]) == 2
    assert "nothing to test on" in capsys.readouterr().err
    assert main(["add-class", "bundle", "gone"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert len(Classifier.load("bundle").labels) == 4


def test_few_photos_are_told(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class_photos(work / "two", 2)
    assert main(["add-class", "bundle", "two"]) == 0
    assert "few photos say little" in capsys.readouterr().out


def test_compress_does_the_same(work: Path) -> None:
    done = CliRunner().invoke(app, ["add-class", "bundle", "lily", "--test", "test"])
    assert done.exit_code == 0, done.output
    assert "old classes" in done.output and "5 classes" in done.output
    assert not [path for path in work.iterdir() if path.name.startswith(".")]
    done = CliRunner().invoke(app, ["add-class", "bundle", "two", "--out", "x", "--json"])
    assert done.exit_code != 0
    class_photos(work / "two", 3, 60, 1)
    done = CliRunner().invoke(app, ["add-class", "bundle", "two", "--out", "x", "--json"])
    assert json.loads(done.output)["labels"] == 6
