"""The worked example of CONTRIBUTING.md, run as it stands."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT
from tiny_models import stage_context

from compress import api
from compress.api import run_stages
from compress.distill import objectives, stage, terms
from compress.generate import stage as generate

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


def test_the_strategy_of_the_example_makes_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = (
        "from __future__ import annotations\nfrom collections.abc import Sequence\nfrom "
        "typing import Any\n"
        "import numpy as np\nfrom compress.engine.config import GenerateSettings\nfrom "
        "compress.generate.base import *\n"
        "from compress.generate.base import Generator, Job, Made, Sources, SynthRecord, "
        "wanted_per_class\n"
        "from compress.engine.seeds import derive\n\n\n"
    )
    (tmp_path / "centroid_example.py").write_text(head + example("strategy"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(generate.STRATEGIES, "centroid", "centroid_example:Centroid")
    settings = api.settings_for(
        "petals",
        shots=2,
        preset="smoke",
        overrides={"generate": {"strategy": "centroid", "per_class": 1, "steps": 1}},
    )
    run = run_stages(settings, tmp_path / "work", "example", until="generate")
    images = np.load(run.stages["generate"].path / "synthetic.npy")
    assert images.shape == (32, 32, 32, 3) and images.std() > 5
    conditions = np.load(run.stages["generate"].path / "source_conditions.npy")
    assert len(conditions) == 64
    sys.modules.pop("centroid_example")
