"""A bundle of which nothing could be verified is no success."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnxruntime
import pytest

from runtime.__main__ import main


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "bundle"))


def test_an_engine_that_runs_no_model_fails(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("runtime.backends.limited.os.name", "other")  # in this process
    monkeypatch.setattr(onnxruntime, "__version__", "1.17.3")
    assert main(["verify", str(own)]) == 1
    shown = capsys.readouterr()
    assert shown.out.count("skipped") == 4 and "no model could be verified" in shown.err
    assert "IR version 10" in shown.err
    assert main(["verify", str(own), "--json"]) == 1
    assert {row["state"] for row in json.loads(capsys.readouterr().out)} == {"ok", "skipped"}


def test_deleted_files_are_named_and_skipped(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "model.fp32.onnx").unlink()
    shutil.rmtree(own / "onnx")
    assert main(["verify", str(own), "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    assert "skipped  missing" in shown and "model.fp32.onnx, onnx/model.onnx" in shown
    (own / "golden.npz").unlink()
    assert main(["verify", str(own), "--threads", "1"]) == 1
    assert "no model could be verified: golden was skipped" in capsys.readouterr().err
