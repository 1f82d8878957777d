"""GenDD's sampled answers: the denoiser of a finished stage, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import stage_context

from compress.distill import stage
from compress.distill.artifact import OBJECTIVE, DistillArtifact
from compress.distill.sampled import SampledStudent
from compress.engine.errors import ConfigError
from compress.engine.stage import StageContext
from compress.teacher.artifact import Heads, TeacherArtifact

GENDD = {"token_dim": 8, "width": 16, "depth": 1, "repeats": 2, "sampling_steps": 4, "samples": 2}


def trained(root: Path, objective: str, **settings: object) -> tuple[StageContext, Heads]:
    distill = {"steps": 4, "objective": objective, "gendd": GENDD, **settings}
    ctx = stage_context(root, objective, distill=distill)
    stage.run(ctx)
    return ctx, TeacherArtifact(ctx.inputs["teacher"].path).heads()


@pytest.mark.parametrize("objective", ["gendd", "gendd_unlabeled"])
def test_it_is_the_trained_denoiser_with_its_own_statistics(tmp_path: Path, objective: str) -> None:
    smooth = 0.9 if objective == "gendd" else 0.0
    ctx, heads = trained(tmp_path, objective, smooth=smooth)
    sampled = SampledStudent(DistillArtifact(ctx.folder), ctx.settings, heads)
    written = load_file(ctx.folder / OBJECTIVE)
    read = {f"terms.gendd.inner.{name}": v for name, v in sampled.term.state_dict().items()}
    assert read.keys() == {name for name in written if ".gendd." in name}
    assert all(torch.equal(value, written[name]) for name, value in read.items())
    torch.testing.assert_close(sampled.term.head, torch.from_numpy(heads.probe))
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
    logits = sampled.logits(images)
    assert logits.shape == (70, heads.classes) and np.isfinite(logits).all()
    np.testing.assert_array_equal(logits, sampled.logits(images))
    assert np.abs(logits).max() <= heads.logit_scale * 1.001, "cosines times the teacher's scale"


def test_only_a_denoiser_can_be_sampled(tmp_path: Path) -> None:
    ctx, heads = trained(tmp_path, "contraction")
    with pytest.raises(ConfigError, match="only a denoiser can be sampled"):
        SampledStudent(DistillArtifact(ctx.folder), ctx.settings, heads)
