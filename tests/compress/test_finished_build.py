"""A build that has nothing to make looks at nothing that it would need to make something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compress import api
from compress.engine import plan
from compress.engine.errors import ConfigError
from compress.stages import STAGES

PROGRAM = """
import sys
from pathlib import Path
from compress import api
settings = api.settings_for("petals", shots=1, preset="smoke")
run = api.build(settings=settings, work_dir=Path(sys.argv[1]), name="smoke")
print(run.made, sorted({"torch", "timm", "open_clip", "onnxruntime"} & sys.modules.keys()))
"""


def test_a_finished_build_imports_no_network(smoke_work: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(smoke_work)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == "[] []\n"


def test_what_a_run_refuses_is_refused_though_its_stages_are_finished(smoke_work: Path) -> None:
    settings = api.settings_for("petals", shots=1, preset="smoke")
    assert plan.nothing_to_make(STAGES, settings, smoke_work)
    with pytest.raises(ConfigError, match="name"):
        api.build(settings=settings, work_dir=smoke_work, name="../other")
    with pytest.raises(ConfigError, match="no budget to judge"):
        api.build(settings=settings, work_dir=smoke_work, name="smoke", benches=["x.json"])


def test_what_cannot_be_planned_is_not_finished(tmp_path: Path) -> None:
    settings = api.settings_for("petals", shots=1, preset="smoke")
    assert not plan.nothing_to_make(STAGES, settings, tmp_path)
    gone = api.settings_for(data=tmp_path / "gone", shots=1, offline=True)
    assert not plan.nothing_to_make(STAGES, gone, tmp_path)
    assert not plan.nothing_to_make(STAGES, settings, tmp_path, until="nothing")
