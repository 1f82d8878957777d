"""The command on recorded frames: changes, the summary, JSON, bad frames."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_bundles import encoded, photo, rejecting_bundle
from typer.testing import CliRunner

from compress.cli.app import app
from runtime import Classifier
from runtime.__main__ import main


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = tmp_path_factory.mktemp("bundle")
    return rejecting_bundle(scratch / "bundle", scratch)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(12):
        (folder / f"{index:02d}.png").write_bytes(encoded(photo(index)))
    return folder


def test_changes_and_what_they_cost(
    bundle: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stream", str(bundle), str(frames), "--frames", "5", "--threads", "1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "frame 0 " in said[0]
    assert said[-2].startswith("12 frames, ") and "frames/s" in said[-2]
    assert "without smoothing" in said[-2] and "a sure change shows after 3 frames, " in said[-1]


def test_json_and_a_limit(bundle: Path, frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["stream", str(bundle), str(frames), "--limit", "7", "--smoothing", "vote"]
    assert main([*command, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["frames"] == 7 and summary["delay_frames"] == 5 and summary["delay_ms"] > 0
    assert main([*command, "--jsonl", "--frames", "1", "--margin", "0"]) == 0
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    model = Classifier.load(bundle, threads=1)
    guesses = [model.predict(photo(index), 1)[0] for index in range(7)]
    want = [guess.label if guess.known else "not sure" for guess in guesses]
    assert [row["label"] for row in rows] == want and rows[3]["frame"] == 3


def test_bad_frames_are_named_and_skipped(
    bundle: Path, frames: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (frames / "03.png").write_bytes(b"bad")
    assert main(["stream", str(bundle), str(frames), "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["bad_frames"] == 1 and "03.png" in shown.err
    for file in frames.iterdir():
        file.write_bytes(b"bad")
    assert main(["stream", str(bundle), str(frames)]) == 2
    assert main(["stream", str(bundle), str(frames / "gone.mp4")]) == 2


def test_compress_does_the_same(bundle: Path, frames: Path) -> None:
    done = CliRunner().invoke(app, ["stream", str(bundle), str(frames), "--json"])
    assert done.exit_code == 0 and json.loads(done.output)["frames"] == 12
