"""The distill stage on small finished inputs: phases, what is trained in each, meta steps,
resume.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distill_targets import new_student
from safetensors.torch import load_file
from tiny_models import stage_context

from compress.data.artifact import DataArtifact
from compress.distill import stage
from compress.distill.artifact import OBJECTIVE, DistillArtifact
from compress.distill.batches import Batches
from compress.distill.frozen import OwnClassifier
from compress.distill.loop import NORM_BATCHES
from compress.distill.objectives import OBJECTIVES
from compress.engine.errors import ConfigError, DataError
from compress.engine.stage import StageContext
from compress.generate.artifact import GenerateArtifact
from compress.label.artifact import LabelArtifact
from compress.teacher.artifact import TeacherArtifact
from compress.teacher.named import Known

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
    ctx = context(root, f"o-{name}", objective=name, smooth=0.9 * OBJECTIVES[name].labeled)
    facts = stage.run(ctx)
    assert facts["objective"] == name and facts["steps"] == 4
    student = DistillArtifact(ctx.folder).student()
    with torch.no_grad():
        assert student(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    extra = ctx.folder / OBJECTIVE
    learned = {"fd", "cp", "fd_kd", "fd_dist", "dho", "fd_dho", "contraction", "gendd"}
    assert extra.exists() is (name.removesuffix("_unlabeled") in learned)


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


@pytest.mark.parametrize("name", ["gendd", "contraction"])
def test_the_targets_statistics_are_those_of_the_cached_views_and_kept_with_the_denoiser(
    root: Path, name: str
) -> None:
    ctx = context(root, f"statistics-{name}", objective=name, smooth=0.9, real_fraction=0.25)
    stage.run(ctx)
    probe = TeacherArtifact(ctx.inputs["teacher"].path).heads().probe.astype(np.float64)
    label = LabelArtifact(ctx.inputs["label"].path)
    real, made = (label.targets(kind) for kind in ("real", "synthetic"))
    assert real is not None and made is not None
    classes = DataArtifact(ctx.inputs["data"].path).shots.labels
    drawn = GenerateArtifact(ctx.inputs["generate"].path).classes[label.keep]
    parts = [
        0.1 * answers[:, view].astype(np.float64) + 0.9 * probe[labels]
        for answers, labels in ((real.features, classes), (made.features[label.keep], drawn))
        for view in range(2)
    ]
    shares = (0.125, 0.125, 0.375, 0.375)
    mean = sum(share * part.mean(0) for share, part in zip(shares, parts, strict=True))
    square = sum(s * np.square(p - mean).mean(0) for s, p in zip(shares, parts, strict=True))
    kept = load_file(ctx.folder / OBJECTIVE)
    prefix = f"terms.{name}.inner.target.standardise."
    assert np.allclose(kept[f"{prefix}mean"], mean, atol=1e-5)
    assert np.allclose(kept[f"{prefix}std"], np.sqrt(square), atol=1e-5)


def test_stage_1_trains_the_trunk_alone_before_the_denoiser(root: Path) -> None:
    """With a rate of nothing after it, the student is what stage 1 left."""
    options = {"objective": "gendd", "lr": 1e-12, "head_lr": 1e-12, "weight_decay": 0.0}
    first = {"pretrain_share": 1.0, "pretrain_lr": 1e-2}
    plain = context(root, "no-stage-1", **options)
    both = context(root, "stage-1", **options, gendd={**GENDD, **first})
    facts = [stage.run(ctx) for ctx in (plain, both)]
    assert "pretraining_steps" not in facts[0] and facts[1]["pretraining_steps"] == 4
    assert facts[1]["steps"] == 4
    moved = {
        name: float((value - state(plain)[name]).abs().max())
        for name, value in state(both).items()
        if name.endswith("weight")
    }
    assert moved["head.weight"] < 1e-6 < 1e-3 < max(moved.values())
    kept = [load_file(ctx.folder / OBJECTIVE) for ctx in (plain, both)]
    assert kept[0].keys() == kept[1].keys()  # nothing of stage 1 is kept
    assert all(torch.allclose(kept[0][name], kept[1][name], atol=1e-6) for name in kept[0])
    history = DistillArtifact(both.folder).history()
    assert ["pretraining" in row for row in history] == [True] * 4 + [False] * 4
    assert ["gendd" in row for row in history] == [False] * 4 + [True] * 4


@pytest.mark.parametrize("killed_at", [3, 4, 7])
def test_a_kill_around_stage_1_changes_no_bit(
    root: Path, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"objective": "gendd", "beta2_start": 0.9, "ema": 0.5}
    options["gendd"] = {**GENDD, "pretrain_share": 1.0}
    whole = context(root, f"1-whole-{killed_at}", **options)
    killed = context(root, f"1-killed-{killed_at}", **options)
    stage.run(whole)
    at = Batches.at

    def broken(self: Batches, step: int, **how: bool) -> object:
        if step == killed_at:
            raise KeyboardInterrupt
        return at(self, step, **how)

    monkeypatch.setattr(Batches, "at", broken)
    with pytest.raises(KeyboardInterrupt):
        stage.run(killed)
    monkeypatch.setattr(Batches, "at", at)
    stage.run(killed)
    for ctx in (whole, killed):
        assert (ctx.folder / "student.safetensors").is_file()
    assert state(whole).keys() == state(killed).keys()
    assert all(torch.equal(value, state(killed)[name]) for name, value in state(whole).items())


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


def test_a_share_of_the_updates_is_feature_distillation(root: Path) -> None:
    by_share = context(root, "share", objective="ce", train="head", feature_share=0.75, steps=4)
    by_count = context(root, "count", objective="ce", train="head", feature_steps=3, steps=4)
    assert stage.run(by_share) == stage.run(by_count)
    assert all(torch.equal(value, state(by_count)[key]) for key, value in state(by_share).items())


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
    settings = {"meta": {"mode": mode, "warmup": 0.25}, "alpha": 1.0, "ema": 0.5}
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


@pytest.mark.parametrize("name", ["gendd", "gendd_unlabeled"])
def test_no_label_reaches_a_student_of_an_unlabeled_objective(root: Path, name: str) -> None:
    settings = {"objective": name, "smooth": 0.0, "steps": 2}
    told = context(root, f"told-{name}", **settings)
    lied = changed(root, context(root, f"lied-{name}", **settings), "data", "generate")
    shots = lied.inputs["data"].path / "shots.json"
    rows = json.loads(shots.read_text(encoding="utf-8"))
    shots.write_text(json.dumps([{**row, "label": 4 - row["label"]} for row in rows]))
    records = lied.inputs["generate"].path / "synthetic.jsonl"
    lines = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    other = [json.dumps({**line, "class_id": 4 - line["class_id"]}) for line in lines]
    records.write_text("".join(f"{line}\n" for line in other))
    for ctx in (told, lied):
        stage.run(ctx)
    same = {key: torch.equal(value, state(lied)[key]) for key, value in state(told).items()}
    assert all(same.values()) is (name == "gendd_unlabeled")
    assert same["head.weight"] is (name == "gendd_unlabeled")


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


def changed(root: Path, ctx: StageContext, *stages: str) -> StageContext:
    """The same context with copies of its stages, of "generate" by default, to be changed."""
    inputs = dict(ctx.inputs)
    for name in stages or ("generate",):
        copy = root / f"{name} of {ctx.folder.name}"
        shutil.copytree(inputs[name].path, copy)
        inputs[name] = replace(inputs[name], path=copy)
    return replace(ctx, inputs=inputs)


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


LEVERS: dict[str, dict[str, Any]] = {
    "standardized": {"logits": "standardized"},
    "correlations": {"objective": "fd_dist"},
    "two heads": {"objective": "fd_dho", "label_share": None},
    "two cosine heads": {"objective": "dho", "head": "cosine"},
    "mixup": {"mixup": 0.4},
    "domains": {"batch_norm": "domain"},
}


@pytest.mark.parametrize("lever", LEVERS)
def test_a_training_with_a_lever_changes_the_student_and_no_bit_by_a_kill(
    root: Path, lever: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**LEVERS[lever], "ema": 0.5}
    names = {name: f"{name} {lever}" for name in ("whole", "killed", "plain")}
    whole, killed = (context(root, names[name], **options) for name in ("whole", "killed"))
    plain = context(root, names["plain"], ema=0.5)
    facts = stage.run(whole)
    stage.run(plain)
    at = Batches.at

    def broken(self: Batches, step: int, **how: bool) -> object:
        if step == 3:
            raise KeyboardInterrupt
        return at(self, step, **how)

    monkeypatch.setattr(Batches, "at", broken)
    with pytest.raises(KeyboardInterrupt):
        stage.run(killed)
    monkeypatch.setattr(Batches, "at", at)
    assert stage.run(killed) == facts
    assert state(whole).keys() == state(killed).keys()
    assert all(torch.equal(value, state(killed)[name]) for name, value in state(whole).items())
    trunk = [name for name in state(plain) if name.startswith("trunk.conv1")]
    assert any(not torch.equal(state(whole)[name], state(plain)[name]) for name in trunk)
    assert ("label_share" in facts) is ("heads" in lever)


def test_a_head_of_two_on_a_frozen_trunk_leaves_the_space_that_it_trained_in(root: Path) -> None:
    """At a rate of nothing both heads stay as they start: the discriminant."""
    options = {"train": "head", "steps": 1, "lr": 1e-12, "head_lr": 1e-12, "weight_decay": 0.0}
    one = context(root, "one head", objective="kd", **options)
    two = context(root, "two heads of a frozen trunk", objective="dho", **options)
    for ctx in (one, two):
        assert stage.run(ctx)["head_start"] == "discriminant"
    for name, value in state(one).items():
        torch.testing.assert_close(state(two)[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_statistics_of_photos_ship_where_domains_are_apart(root: Path, ema: float) -> None:
    options = {"lr": 1e-12, "head_lr": 1e-12, "weight_decay": 0.0, "ema": ema, "steps": 2}
    ctx = context(root, f"photos {ema}", batch_norm="domain", **options)
    stage.run(ctx)
    student = DistillArtifact(ctx.folder).student()
    found = {name: value.clone() for name, value in student.named_buffers() if "running" in name}
    norms = [m for m in student.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None if ema else 0.1
    student.train()
    batches = Batches(ctx, student.spec.preprocess(ctx.settings.image), "distill")
    with torch.no_grad():
        for step in range(2, 2 + NORM_BATCHES) if ema else range(2):
            batch = batches.at(step)
            assert 0 < int(batch.real.sum()) < len(batch.real)
            student(batch.images[batch.real])
    batches.close()
    for name, value in student.named_buffers():
        if "running" in name:
            torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("knows_all", [False, True])
def test_power_norm_gives_way_to_the_rows_of_the_networks_own_classifier(
    root: Path, knows_all: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    indices = (1, 2, 3, 4, 0 if knows_all else -1)
    own = OwnClassifier(torch.ones(5, 2), torch.ones(5), Known(indices))
    monkeypatch.setattr(stage, "own_classifier", lambda *given: own)
    for train in ("head", "all"):
        ctx = context(root, f"roots {knows_all} {train}", power_norm=True, train=train)
        stage.run(ctx)
        student = DistillArtifact(ctx.folder).student()
        assert student.spec.power_norm is not (knows_all and train == "head")
