"""Batches: two groups of styles in meta steps, and the rows of ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import stage_context

from compress.distill.artifact import DistillArtifact
from compress.distill.batches import Batches


def test_meta_steps_draw_both_groups_from_different_styles(tmp_path: Path) -> None:
    ctx = stage_context(tmp_path, "styles")
    student = DistillArtifact(ctx.inputs["distill"].path).student()
    batches = Batches(ctx, student.spec.preprocess(ctx.settings.image), "distill")
    assert batches.styles.tolist() == [-1, 0, 1, 2]
    groups = []
    for step in range(6):
        drawn = batches._draw_apart(step)
        styles: dict[bool, set[int]] = {True: set(), False: set()}
        for pool, indices, first in drawn:
            styles[first] |= set(pool.styles[indices // pool.views].tolist())
        assert not styles[True] & styles[False] and styles[True] and styles[False]
        groups.append(frozenset(styles[True]))
        batch = batches.at(step, apart=True)
        assert 0 < int(batch.group.sum()) < len(batch.group) == len(batch.images)
    assert len(set(groups)) > 1
    batches.close()


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_rows_of_all_ranks_are_those_of_the_batch(tmp_path: Path, ranks: int) -> None:
    ctx = stage_context(tmp_path, "rows", distill={"batch": 8, "real_fraction": 0.4})
    student = DistillArtifact(ctx.inputs["distill"].path).student()
    batches = Batches(ctx, student.spec.preprocess(ctx.settings.image), "distill")
    whole = batches.at(3)
    batches._ranks = ranks
    weights = []
    for rank in range(ranks):
        batches._rank = rank
        mine = batches.at(3)
        assert torch.equal(mine.images, whole.images[rank::ranks])
        assert torch.equal(mine.labels, whole.labels[rank::ranks])
        assert torch.equal(mine.real, whole.real[rank::ranks])
        assert mine.teacher_logits is not None and whole.teacher_logits is not None
        assert torch.equal(mine.teacher_logits, whole.teacher_logits[rank::ranks])
        weights.append(mine.real_weight)
        assert mine.real_weight == int(mine.real.sum()) * ranks / int(whole.real.sum())
        assert torch.equal(batches.at(3, whole=True).images, whole.images)
    assert whole.real_weight == 1 and sum(weights) == pytest.approx(ranks)
    batches.close()
