"""What a build would do, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_stages import TABLE, build, changed

from compress.engine.config import Settings
from compress.engine.errors import ConfigError
from compress.engine.plan import explain, plan


def test_the_plan_says_why(tmp_path: Path) -> None:
    first = plan(TABLE, Settings(), tmp_path)
    assert [s.action for s in first] == ["make", "behind data", "behind data"]
    assert first[0].why == ("never made in this work folder",)
    build(Settings(), tmp_path, "a")
    step = explain(TABLE, changed(distill={"steps": 5}), tmp_path, "distill")
    assert step.action == "make" and step.why == ("settings.distill.steps: 6000 -> 5",)
    assert explain(TABLE, Settings(), tmp_path, "distill").action == "keep"


def test_until_and_unknown_stages(tmp_path: Path) -> None:
    assert build(Settings(), tmp_path, "a", until="teacher").made == ["data", "teacher"]
    with pytest.raises(ConfigError, match="did you mean 'distill'"):
        build(Settings(), tmp_path, "a", until="distil")
    with pytest.raises(ConfigError, match="did you mean 'teacher'"):
        explain(TABLE, Settings(), tmp_path, "teachr")
