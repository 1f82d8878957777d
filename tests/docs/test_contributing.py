"""The worked example of CONTRIBUTING.md, run as it stands."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
from paths import ROOT
from tiny_models import stage_context

from compress import api
from compress.api import run_stages
from compress.distill import objectives, stage, terms
from compress.generate.artifact import GenerateArtifact
from compress.generate.strategies import table as strategies

TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def example(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    assert found, f"CONTRIBUTING.md has no example {name!r}"
    return found[1]


def test_the_objective_of_the_example_trains_a_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in ("TERMS", "OBJECTIVES"):
        monkeypatch.setattr(objectives, table, dict(getattr(objectives, table)))
    names = {**vars(terms), **vars(objectives)}  # the two files that it adds to
    exec(compile(example("objective"), "CONTRIBUTING.md", "exec"), names)
    facts = stage.run(
        stage_context(tmp_path, "example", distill={"steps": 3, "objective": "logit_match"})
    )
    assert set(facts["terms"]) == {"logit_match", "ce"}


def test_the_strategy_of_the_example_generates_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("compress.generate.strategies.centroid")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(example("strategy"), "CONTRIBUTING.md", "exec"), vars(module))
    monkeypatch.setattr(strategies, "STRATEGIES", dict(strategies.STRATEGIES))
    exec(compile(example("strategy row"), "CONTRIBUTING.md", "exec"), dict(vars(strategies)))
    settings = api.settings_for(
        "petals",
        shots=2,
        preset="smoke",
        overrides={"generate": {"strategy": "centroid", "per_class": 1, "steps": 1}},
    )
    run = run_stages(settings, tmp_path / "work", "example", until="generate")
    artifact = GenerateArtifact(run.stages["generate"].path)
    assert artifact.images.shape == (32, 32, 32, 3) and artifact.images.std() > 5
    assert artifact.source_conditions is not None
    assert len(artifact.source_conditions) == 64
