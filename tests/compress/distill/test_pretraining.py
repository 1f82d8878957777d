"""Oracles of GenDD's stage 1: its loss, what it moves, and that it is off by default."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from distill_targets import CLASSES, DIM, LABELS, POOLED, TEXTS, WIDTH, batch, inputs
from torch import nn

from compress.distill.objectives import pretraining_steps
from compress.distill.pretraining import Pretraining
from compress.engine.config import DistillSettings, GenddSettings, preset, resolve
from compress.papers.methods import paper


def test_the_loss_is_cross_entropy_through_a_linear_layer_and_the_teachers_classifier() -> None:
    torch.manual_seed(0)
    stage = Pretraining(inputs())
    assert isinstance(stage.into, nn.Linear)
    assert (stage.into.in_features, stage.into.out_features) == (WIDTH, DIM)
    expected = 0.0
    for row, label in zip(POOLED, LABELS, strict=True):
        feature = stage.into.weight @ row + stage.into.bias
        cosines = [float(F.cosine_similarity(feature, text, dim=0).detach()) for text in TEXTS]
        scaled = 20.0 * torch.tensor(cosines, dtype=torch.float64)  # the teacher's logit scale
        expected -= float(scaled[label] - scaled.logsumexp(0)) / len(LABELS)
    assert float(stage(POOLED, batch()).detach()) == pytest.approx(expected, rel=1e-5)


def test_the_teachers_classifier_is_frozen_and_equal_widths_need_no_layer() -> None:
    stage = Pretraining(inputs())
    assert {name for name, _ in stage.named_parameters()} == {"into.weight", "into.bias"}
    pooled = POOLED.clone().requires_grad_()
    stage(pooled, batch()).backward()
    assert pooled.grad is not None and pooled.grad.abs().max() > 0
    same = Pretraining(replace(inputs(), width=DIM))
    assert not list(same.parameters())
    rows = torch.randn(6, DIM)
    logits = 20.0 * F.normalize(rows, dim=-1) @ TEXTS.T
    assert logits.shape == (6, CLASSES)
    assert float(same(rows, batch())) == pytest.approx(float(F.cross_entropy(logits, LABELS)))


def test_its_updates_are_a_share_of_the_others_and_of_gendd_alone() -> None:
    def steps(**changes: object) -> int:
        return pretraining_steps(DistillSettings(**changes), 400)  # type: ignore[arg-type]

    fifth = GenddSettings(pretrain_share=0.2)  # 20 of 100 epochs
    assert steps(objective="gendd") == 0
    assert steps(objective="gendd", gendd=fifth) == 80
    assert steps(objective="kd", gendd=fifth) == 0
    assert steps(objective="contraction", gendd=fifth) == 0


def test_the_preset_and_the_rows_have_what_the_paper_has() -> None:
    table = paper("gendd")
    scale = table.scales["full"]

    def of(row: str) -> DistillSettings:
        return table.settings(row, scale, "flowers", 8, 0).distill

    labeled, unlabeled = of("GenDD"), of("GenDD, unlabeled")
    assert labeled.gendd.pretrain_share == 0.2 and labeled.beta2_start == 0.96
    assert unlabeled.gendd.pretrain_share == 0 and unlabeled.beta2_start == 0.96  # CC3M: no stage 1
    assert of("KL").beta2_start is None and of("KL, unlabeled").beta2_start is None
    assert DistillSettings().beta2_start is None
    assert resolve(preset("gendd")).distill.gendd.pretrain_lr is None
