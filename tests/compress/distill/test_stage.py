"""The distill stage on small finished inputs: phases, what is trained in each, meta steps,
resume.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from distill_targets import new_student
from safetensors.torch import load_file
from tiny_models import stage_context

from compress.distill import stage
from compress.distill.artifact import OBJECTIVE, DistillArtifact
from compress.distill.batches import Batches
from compress.distill.objectives import OBJECTIVES
from compress.engine.errors import ConfigError, DataError
from compress.engine.stage import StageContext

GENDD = {"token_dim": 8, "width": 16, "depth": 1, "repeats": 2}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("distill")


def context(root: Path, name: str, **settings: Any) -> StageContext:
    return stage_context(
        root, name, distill={"steps": 4, "checkpoint_every": 2, "gendd": GENDD, **settings}
    )


def state(ctx: StageContext) -> dict[str, torch.Tensor]:
    return load_file(ctx.folder / "student.safetensors")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_a_student_that_loads_without_it(root: Path, name: str) -> None:
    ctx = context(root, f"o-{name}", objective=name)
    facts = stage.run(ctx)
    assert facts["objective"] == name and facts["steps"] == 4
    student = DistillArtifact(ctx.folder).student()
    with torch.no_grad():
        assert student(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    extra = ctx.folder / OBJECTIVE
    assert extra.exists() is (name in {"fd", "cp", "fd_kd", "contraction", "gendd"})


def test_a_probe_on_detached_features_leaves_the_trunk_to_the_other_term(root: Path) -> None:
    free, pinned = (context(root, f"w{w}", objective="gendd", feature_weight=w) for w in (0, 1))
    for ctx in (free, pinned):
        stage.run(ctx)
    names = [
        n for n in state(free) if n.startswith("trunk.") and n.endswith("weight") and "bn" not in n
    ]
    start = context(
        root, "start", objective="gendd", feature_weight=0, steps=1, lr=1e-12, weight_decay=0.0
    )
    stage.run(start)
    moved = {
        w: sum(float((state(c)[n] - state(start)[n]).norm()) for n in names)
        for w, c in ((0, free), (1, pinned))
    }
    assert moved[0] < 1e-3 < moved[1]
    assert not torch.equal(state(free)["head.weight"], state(start)["head.weight"])


def test_head_only_training_keeps_every_byte_of_the_trunk(root: Path) -> None:
    short = context(root, "short", objective="ce", train="head", steps=2)
    long = context(root, "long", objective="ce", train="head", steps=6)
    for ctx in (short, long):
        stage.run(ctx)
    for name, value in state(short).items():
        same = torch.equal(value, state(long)[name])
        assert same is not name.startswith("head."), name


def test_two_stage_feature_distillation(root: Path) -> None:
    one = context(root, "one", objective="ce", train="head", feature_steps=3, steps=4)
    facts = stage.run(one)
    assert facts["feature_steps"] == 3
    history = stage.json.loads((one.folder / "history.json").read_text())
    assert ["feature" in row for row in history] == [True, True, True, False]
    assert "labels" in history[-1]


def test_a_cosine_head_starts_as_the_class_texts(root: Path) -> None:
    ctx = context(root, "cosine", head="cosine", feature_steps=2, steps=2)
    stage.run(ctx)
    heads = load_file(ctx.inputs["teacher"].path / "heads.safetensors")
    assert torch.equal(
        state(ctx)["head.weight"], heads["zero_shot"]
    )  # nothing but the trunk has learned yet
    assert state(ctx)["proj.weight"].shape == (
        16,
        DistillArtifact(ctx.folder).student().proj.in_features,
    )  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["exact", "first_order", "reptile"])
def test_meta_steps_train_and_resume_with_the_same_bits(
    root: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"meta": {"mode": mode, "warmup": 0.25}, "alpha": 1.0}
    whole, killed, at = (
        context(root, f"m-{mode}", **settings),
        context(root, f"k-{mode}", **settings),
        Batches.at,
    )
    facts = stage.run(whole)
    assert facts["meta"] == mode

    def broken(self: Batches, step: int, *, apart: bool = False) -> object:
        if step == 3:
            raise KeyboardInterrupt
        return at(self, step, apart=apart)

    monkeypatch.setattr(Batches, "at", broken)
    with pytest.raises(KeyboardInterrupt):
        stage.run(killed)
    monkeypatch.setattr(Batches, "at", at)
    stage.run(killed)
    assert (whole.folder / "student.safetensors").read_bytes() == (
        killed.folder / "student.safetensors"
    ).read_bytes()


def test_meta_steps_need_two_styles(root: Path) -> None:
    ctx = changed(root, context(root, "one-style", real_fraction=0.0, meta={"mode": "first_order"}))
    records = ctx.inputs["generate"].path / "synthetic.jsonl"
    records.write_text(
        "\n".join(
            re.sub('"style_id": .', '"style_id": 0', line)
            for line in records.read_text().split("\n")
        )
    )
    with pytest.raises(ConfigError, match="at least two styles"):
        stage.run(ctx)


def changed(root: Path, ctx: StageContext) -> StageContext:
    """The same context with a copy of its generate stage, to be changed."""
    copy = root / f"inputs of {ctx.folder.name}"
    shutil.copytree(ctx.inputs["generate"].path, copy)
    return replace(
        ctx, inputs={**ctx.inputs, "generate": replace(ctx.inputs["generate"], path=copy)}
    )


def test_epochs_stand_for_updates_over_the_images_in_use(root: Path) -> None:
    facts = stage.run(context(root, "epochs", epochs=2.0))
    assert facts["steps"] == -(-2 * (10 + 30) // 16)


def test_condition_prediction_needs_conditions_of_both_pools(root: Path) -> None:
    ctx = changed(root, context(root, "cp-less", objective="cp"))
    (ctx.inputs["generate"].path / "source_conditions.npy").unlink()
    with pytest.raises(DataError, match="no conditions"):
        stage.run(ctx)


def test_frozen_batch_norm_keeps_statistics_and_trains_scales() -> None:
    student = new_student().train()
    stage.freeze_batch_norm(student)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    student(torch.randn(4, 3, 32, 32)).sum().backward()
    assert all(
        torch.equal(before[key], value)
        for key, value in student.state_dict().items()
        if "running" in key
    )
    assert any(
        p.grad is not None and p.grad.abs().sum() > 0
        for n, p in student.named_parameters()
        if "bn" in n
    )
