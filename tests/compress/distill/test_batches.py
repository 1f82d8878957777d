"""Batches of meta steps: two groups of styles."""

from __future__ import annotations

from pathlib import Path

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
