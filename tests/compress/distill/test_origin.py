"""What a student starts from and learns by: an edited row of somebody else makes it again."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from compress import api
from compress.distill import objectives
from compress.distill.origin import fingerprint
from compress.engine.config import Settings

MINE = """
from compress.distill.objectives import ObjectiveSpec
from compress.distill.terms import LabelTerm

class MyTerm(LabelTerm):
    weight = 1.0

MY_OBJECTIVE = ObjectiveSpec(lambda settings: {"mine": 1.0})
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script's module that adds an objective and its term; gives its file."""
    file = tmp_path / "my_objective.py"
    file.write_text(MINE)
    loaded = types.ModuleType("my_objective")
    loaded.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "my_objective", loaded)
    exec(compile(MINE, str(file), "exec"), vars(loaded))
    monkeypatch.setitem(objectives.TERMS, "mine", loaded.MyTerm)
    monkeypatch.setitem(objectives.OBJECTIVES, "mine", loaded.MY_OBJECTIVE)
    return file


def with_objective(name: str) -> Settings:
    return api.settings_for("petals", preset="smoke", overrides={"distill": {"objective": name}})


def test_ours_are_known_by_the_version_of_the_stage() -> None:
    assert all(list(fingerprint(with_objective(name))) == ["init"] for name in ("kd", "ce"))


def test_an_edited_objective_of_a_script_is_another_one(module: Path) -> None:
    before = fingerprint(with_objective("mine"))
    assert set(before) == {"init", "objective mine", "term mine"}
    assert fingerprint(with_objective("mine")) == before
    module.write_text(MINE.replace("weight = 1.0", "weight = 2.0"))
    after = fingerprint(with_objective("mine"))
    assert after["init"] == before["init"] and after["term mine"] != before["term mine"]


def test_a_term_of_ours_that_a_script_replaced_is_known(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(objectives.TERMS, "labels", sys.modules["my_objective"].MyTerm)
    assert "term labels" in fingerprint(with_objective("ce"))
    assert "term labels" not in fingerprint(with_objective("kd"))
