"""A build under a taken name: other images are refused, other settings told."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.engine.config import Settings, resolve
from compress.engine.errors import ConfigError
from compress.engine.runs import RunFolder
from compress.engine.same_name import replaced, require_same_images


def settings(**data: object) -> Settings:
    return resolve({"data": {"dataset": None, **data}})


def run_of(work: Path, of: Settings, *, finished: bool = True) -> RunFolder:
    run = RunFolder.of(work, "photos-4shot-s0")
    run.path.mkdir(parents=True)
    run.write_config(of)
    if finished:
        (run.path / "report.json").write_text("{}")
    return run


def test_a_folder_of_the_same_name_elsewhere_is_refused(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place / "photos").mkdir(parents=True)
    first, second = (settings(path=tmp_path / place / "photos") for place in ("a", "b"))
    run = run_of(tmp_path, first)
    require_same_images(run, first)
    with pytest.raises(ConfigError, match=r"other images.*b/photos.*a/photos.*--name NAME"):
        require_same_images(run, second)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "photos")
    require_same_images(run, settings(path=tmp_path / "link"))
    (tmp_path / "a" / "photos").rmdir()  # it was moved
    require_same_images(run, second)
    assert "data.path" in replaced(run, second)


def test_as_many_other_classes_are_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path, settings(classes=["ant", "bee"], shots=0))
    with pytest.raises(ConfigError, match="got the classes cat, dog .*ant, bee"):
        require_same_images(run, settings(classes=["cat", "dog"], shots=0))


def test_other_settings_of_a_finished_run_are_told(tmp_path: Path) -> None:
    petals = resolve({})
    run = run_of(tmp_path, petals)
    assert replaced(run, petals) == ""
    assert replaced(run, resolve({"data": {"offline": True}})) == ""
    one = replaced(run, resolve({"distill": {"steps": 7}}))
    assert "photos-4shot-s0" in one and "distill.steps: " in one and "-> 7" in one
    many = {"distill": {"steps": 7, "batch": 2, "lr": 1.0, "alpha": 0.5}}
    assert ", and 1 more" in replaced(run, resolve(many))


def test_nothing_is_told_of_what_is_unfinished_or_unreadable(tmp_path: Path) -> None:
    petals, other = resolve({}), resolve({"distill": {"steps": 7}})
    run = run_of(tmp_path, petals, finished=False)
    assert replaced(run, other) == ""
    run.config.write_text("distill: [")
    (run.path / "report.json").write_text("{}")
    assert replaced(run, other) == ""
    require_same_images(run, settings(classes=["ant"], shots=0))
    assert replaced(RunFolder.of(tmp_path, "none"), other) == ""
