"""A command runs a stranger's model within limits first, and remembers what kept to them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from odd_models import HIDDEN, UNBOUNDED, change, times
from tiny_bundles import encoded, photo

from runtime.__main__ import main
from runtime.backends import limited
from runtime.commands import trial


@pytest.fixture
def bundle(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIP2EDGE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.png").write_bytes(encoded(photo()))
    return Path(shutil.copytree(built, tmp_path / "bundle"))


def classify(bundle: Path, *options: str) -> int:
    return main(["classify", str(bundle), str(bundle.parent / "a.png"), "--threads", "1", *options])


def remembered(bundle: Path) -> int:
    return len(list((bundle.parent / "cache" / trial.SEEN).glob("*")))


@pytest.mark.parametrize("hostile", HIDDEN, ids=lambda edit: edit.__name__)
def test_a_model_without_bounds_is_stopped_by_every_command(
    bundle: Path,
    hostile: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(limited, "SECONDS", 2)
    change(bundle, ("model.fp32.onnx",), hostile)
    assert classify(bundle, "--precision", "fp32") == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("error: ") and told.err.count("\n") == 1
    assert main(["bench", str(bundle), "--seconds", "0.05", "--threads", "1"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert remembered(bundle) == 0
    assert classify(bundle, "--precision", "int8") == 0


@pytest.mark.parametrize("hostile", UNBOUNDED, ids=lambda edit: edit.__name__)
def test_a_model_whose_file_shows_it_is_refused_without_a_run(
    bundle: Path, hostile: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    change(bundle, ("model.fp32.onnx",), hostile)
    assert classify(bundle, "--precision", "fp32") == 2
    assert "may take any time or memory" in capsys.readouterr().err


def test_what_kept_to_its_limits_is_tried_once(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert classify(bundle) == 0 and remembered(bundle) == 1
    monkeypatch.setattr(trial, "overrun", lambda *_: pytest.fail("tried again"))
    assert classify(bundle) == 0
    assert (
        shutil.copytree(bundle, bundle.with_name("copy"))
        and classify(bundle.with_name("copy")) == 0
    )


@pytest.mark.parametrize("change_of", ["manifest", "precision", "file"])
def test_another_model_is_tried(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, change_of: str
) -> None:
    tried: list[list[str]] = []

    def overrun(models: dict[Path, int], threads: int | None, engine: str) -> tuple[str, bool]:
        tried.append([file.name for file in models])
        return "", True

    monkeypatch.setattr(trial, "overrun", overrun)
    assert classify(bundle, "--precision", "fp32") == 0
    if change_of == "manifest":
        change(bundle, ("model.fp32.onnx",), times(2))
        assert classify(bundle, "--precision", "fp32") == 0
    elif change_of == "precision":
        assert classify(bundle, "--precision", "int8") == 0
    else:
        shutil.copy(bundle / "model.fp32.onnx", bundle.parent / "m.onnx")
        image = str(bundle.parent / "a.png")
        assert main(["classify", str(bundle.parent / "m.onnx"), image]) == 0
    last = {"manifest": "model.fp32.onnx", "precision": "model.int8.onnx", "file": "m.onnx"}
    assert tried == [["model.fp32.onnx"], [last[change_of]]] and remembered(bundle) == 2


def test_a_zipped_bundle_and_a_teacher_are_tried_too(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(limited, "SECONDS", 2)
    good = shutil.copytree(bundle, bundle.with_name("good"))
    change(bundle, ("model.fp32.onnx", "model.int8.onnx"), HIDDEN[0])
    packed = Path(shutil.make_archive(str(bundle.parent / "packed"), "zip", bundle))
    assert classify(packed) == 2
    assert classify(bundle.parent) == 2, "the folder of a run is tried as its bundle is"
    command = ["bench", str(good), "--teacher", str(bundle), "--seconds", "0.05", "--threads", "1"]
    assert main(command) == 2
    assert capsys.readouterr().err.count("a model takes too much") == 3


def test_a_model_that_fails_within_its_limits_is_told_by_the_command_itself(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(bundle, ("model.fp32.onnx",), times(float("nan")))
    assert classify(bundle, "--precision", "fp32") == 2
    assert "not finite" in capsys.readouterr().err
    assert main(["classify", str(bundle / "absent"), "x"]) == 2
    assert "is not a bundle" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_costs_time_alone(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle.parent / "cache").write_text("a file")
    assert classify(bundle, "--json") == 0
    assert json.loads(capsys.readouterr().out)
