"""Builds of a table of tiny stages: what is kept and what is made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from tiny_stages import TABLE, build, changed

from compress.engine import memory, runner
from compress.engine.config import Settings
from compress.engine.plan import plan
from compress.engine.stage import Stage, StageContext
from compress.engine.store import Store


def test_a_second_identical_build_does_nothing(tmp_path: Path) -> None:
    assert build(Settings(), tmp_path, "a").made == ["data", "teacher", "distill"]
    again = build(Settings(), tmp_path, "a")
    assert (
        again.made == [] and [s.action for s in plan(TABLE, Settings(), tmp_path)] == ["keep"] * 3
    )
    assert (tmp_path / "runs" / "a" / "distill" / "out.json").exists()


def test_one_knob_remakes_only_what_depends_on_it(tmp_path: Path) -> None:
    build(Settings(), tmp_path, "a")
    assert build(changed(distill={"steps": 5}), tmp_path, "b").made == ["distill"]
    # the teacher is remade but comes out the same, so nothing behind it is
    assert build(changed(teacher={"probe_steps": 5}), tmp_path, "c").made == ["teacher"]
    assert build(changed(data={"shots": 1}), tmp_path, "d").made == ["data", "teacher", "distill"]


def test_a_run_shows_itself_in_one_short_line(tmp_path: Path) -> None:
    run = build(Settings(), tmp_path, "a", until="data")
    assert repr(run) == f"BaseRun('a', 1 stages, 1 made, {str(run.folder)!r})"


def test_a_new_run_starts_once_a_clean_has_ended(tmp_path: Path) -> None:
    """The clean does not know of the run, whose first stages it would take for unused ones."""
    build(Settings(), tmp_path, "a")
    with ThreadPoolExecutor(1) as threads:
        with Store.of(tmp_path).cleaning():
            building = threads.submit(build, changed(seed=1), tmp_path, "b")
            assert not wait([building], timeout=0.5).done
        assert building.result(timeout=60).made == ["data", "teacher", "distill"]


def holds(ctx: StageContext) -> dict[str, Any]:
    """A stage that says whether freed memory is kept meanwhile."""
    (ctx.folder / "out").write_text("")
    return {"kept": memory._holders > 0}


def test_stages_keep_freed_memory_but_those_that_measure_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_holders", 0)  # a worker of another test keeps it for good
    store, reference = Store.of(tmp_path), f"{__name__}:holds"
    made, measured = (
        runner.make(
            Stage(name, (), ("seed",), reference, machine_bound=bound), Settings(), {}, store
        )
        for name, bound in (("data", False), ("bench", True))
    )
    assert made.facts == {"kept": memory._glibc() is not None}
    assert measured.facts == {"kept": False} and not memory._holders
