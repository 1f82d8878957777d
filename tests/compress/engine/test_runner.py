"""The engine on a table of tiny stages: keys, plans, resume, explain, clean."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.engine import runner
from compress.engine.config import Settings, merge, resolve, setting_paths
from compress.engine.errors import ConfigError
from compress.engine.plan import explain, plan, up_to
from compress.engine.runs import RunFolder, clean
from compress.engine.stage import Stage, StageContext, identity, key_of
from compress.engine.store import Store, lock
from compress.stages import STAGES


def small(ctx: StageContext) -> dict[str, Any]:
    """A stage that writes its inputs' contents and the seed."""
    inputs = {name: artifact.content for name, artifact in ctx.inputs.items()}
    (ctx.folder / "out.json").write_text(
        json.dumps([ctx.seed, ctx.settings.data.shots, inputs], sort_keys=True)
    )
    return {"inputs": len(inputs)}


def constant(ctx: StageContext) -> dict[str, Any]:
    """A stage whose bytes do not depend on its settings."""
    (ctx.folder / "out").write_text("same")
    return {}


TABLE = (
    Stage("data", (), ("data.shots", "seed"), f"{__name__}:small"),
    Stage("teacher", ("data",), ("teacher",), f"{__name__}:constant"),
    Stage("distill", ("data", "teacher"), ("distill",), f"{__name__}:small"),
)


def build(settings: Settings, work: Path, name: str, until: str | None = None) -> runner.BaseRun:
    built = runner.BaseRun(name, RunFolder.of(work, name).path, settings)
    return runner.run(up_to(TABLE, until), built, Store.of(work), publish=lambda run: None)


def change(**sections: dict) -> Settings:
    return resolve(merge(Settings().plain(), sections))


def test_a_second_identical_build_does_nothing(tmp_path: Path) -> None:
    assert build(Settings(), tmp_path, "a").made == ["data", "teacher", "distill"]
    again = build(Settings(), tmp_path, "a")
    assert (
        again.made == [] and [s.action for s in plan(TABLE, Settings(), tmp_path)] == ["keep"] * 3
    )
    assert (tmp_path / "runs" / "a" / "distill" / "out.json").exists()


def test_one_knob_remakes_only_what_depends_on_it(tmp_path: Path) -> None:
    build(Settings(), tmp_path, "a")
    assert build(change(distill={"steps": 5}), tmp_path, "b").made == ["distill"]
    # the teacher is remade but comes out the same, so nothing behind it is
    assert build(change(teacher={"probe_steps": 5}), tmp_path, "c").made == ["teacher"]
    assert build(change(data={"shots": 1}), tmp_path, "d").made == ["data", "teacher", "distill"]


def test_the_plan_says_why(tmp_path: Path) -> None:
    first = plan(TABLE, Settings(), tmp_path)
    assert [s.action for s in first] == ["make", "behind data", "behind data"]
    assert first[0].why == ("never made in this work folder",)
    build(Settings(), tmp_path, "a")
    step = explain(TABLE, change(distill={"steps": 5}), tmp_path, "distill")
    assert step.action == "make" and step.why == ("settings.distill.steps: 6000 -> 5",)
    assert explain(TABLE, Settings(), tmp_path, "distill").action == "keep"


def test_until_and_unknown_stages(tmp_path: Path) -> None:
    assert build(Settings(), tmp_path, "a", until="teacher").made == ["data", "teacher"]
    with pytest.raises(ConfigError, match="did you mean 'distill'"):
        build(Settings(), tmp_path, "a", until="distil")
    with pytest.raises(ConfigError, match="did you mean 'teacher'"):
        explain(TABLE, Settings(), tmp_path, "teachr")


def test_clean_leaves_alone_what_another_build_is_making(tmp_path: Path) -> None:
    part = tmp_path / "store" / "distill" / ".0123.part"
    (part / "partial").mkdir(parents=True)
    with lock(part.with_suffix(".lock"), "stage distill"):
        child = multiprocessing.get_context("spawn").Process(target=clean, args=(tmp_path,))
        child.start()
        child.join()
        assert child.exitcode == 0 and part.exists()
    assert clean(tmp_path)[0] == 1 and not part.exists()


def test_clean_keeps_what_runs_use(tmp_path: Path) -> None:
    build(Settings(), tmp_path, "a")
    build(change(distill={"steps": 5}), tmp_path, "a")  # the first distill is orphaned
    assert clean(tmp_path, dry_run=True)[0] == 1
    removed, freed = clean(tmp_path)
    assert removed == 1 and freed > 0
    assert build(change(distill={"steps": 5}), tmp_path, "a").made == []


def test_config_yaml_repeats_the_run(tmp_path: Path) -> None:
    from compress.engine.config import read_layer

    run = build(change(data={"shots": 2}, seed=3), tmp_path, "a")
    assert build(resolve(read_layer(run.folder / "config.yaml")), tmp_path, "b").made == []


def test_the_real_table_is_well_formed() -> None:
    seen: set[str] = set()
    for stage in STAGES:
        assert set(stage.needs) <= seen
        seen.add(stage.name)
        assert callable(stage.function())
        for name, digest in (
            dataclasses.replace(stage, external=None).external_fingerprint(Settings()).items()
        ):
            assert name and digest
        assert identity(dataclasses.replace(stage, external=None, needs=()), Settings(), {})[
            "settings"
        ]


#: the first stage whose key must change with each section
FIRST = {
    "data": "data",
    "image": "data",
    "seed": "data",
    "teacher": "teacher",
    "generate": "generate",
    "label": "teacher",
    "distill": "distill",
    "quantize": "quantize",
    "export": "export",
    "bench": "bench",
}
VALUES = {
    "data.dataset": "cars",
    "data.path": None,
    "data.classes": None,
    "data.category": "x",
    "data.style": "night",
    "teacher.precision": "bf16",
    "teacher.templates": ["a {}"],
    "generate.scheduler": "X",
    "generate.height": 64,
    "generate.dtype": "bf16",
    "generate.pair_mode": "fixed",
    "distill.init": "random",
    "distill.init_path": "x.safetensors",
    "distill.precision": "bf16",
    "distill.real_fraction": 0.25,
    "distill.alpha": 0.25,
    "distill.ema": 0.9,
    "quantize.mode": "ptq",
    "image.interpolation": "bilinear",
    "image.crop_pct": 0.5,
    "data.test_domains": ["all"],
    "generate.synth_ratio": 2.0,
    "generate.templates": ["{} b"],
    "generate.prompts.words": ["x"],
    "generate.prompts.mix_level": "token",
    "generate.prompts.contrastive": "promptstyler",
    "generate.probing.candidates": [{"steps": 3}],
    "label.pools": ["real"],
    "distill.head": "linear",
    "distill.train": "head",
    "distill.feature_loss": "mse_norm",
    "distill.center": "text",
    "distill.meta.mode": "exact",
    "distill.meta.inner_lr": 0.1,
    "distill.epochs": 2.0,
    "bench.precision": "int8",
    "quantize.float_blocks": ["head"],
    "data.test_limit": 7,
    "label.real_views": 3,
    "bench.threads": [2],
    "export.opset": 18,
    "data.test_fraction": 0.3,
}


def altered(path: str) -> Settings | None:
    """The default settings with one leaf changed, or None where one leaf alone cannot change."""
    *sections, leaf = path.split(".")
    plain = Settings().plain()
    node = plain
    for section in sections:
        node = node[section]
    old = node[leaf]
    changes = {bool: lambda: not old, int: lambda: old * 2 + 1, float: lambda: old / 2 or 0.5}
    new = VALUES.get(path, changes.get(type(old), lambda: f"{old}x")())
    if new is None:
        return None
    change: dict[str, Any] = {leaf: new}
    for section in reversed(sections):
        change = {section: change}
    return resolve(merge(plain, change))


#: where things lie and what is said about them; the content that is found there belongs to the
#: identity instead
ELSEWHERE = {"notes", "data.root", "data.path", "data.offline"}


#: a budget says what to search for and judges what was made: it changes no stage
#: (tests/compress/budgets/test_grammar.py)
@given(
    st.sampled_from(
        [p for p in setting_paths(Settings) if p not in ELSEWHERE and not p.startswith("budget.")]
    )
)
@settings(max_examples=200, deadline=None)
def test_settings_that_can_change_a_result_never_share_a_key(path: str) -> None:
    other = altered(path)
    if other is None:
        return
    rows = {row.name: dataclasses.replace(row, needs=(), external=None) for row in STAGES}
    row = rows[FIRST[path.partition(".")[0]]]
    assert key_of(identity(row, Settings(), {})) != key_of(identity(row, other, {}))
