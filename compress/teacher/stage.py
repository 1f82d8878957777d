"""Stage "teacher": the text head, and the linear probe that starts from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from compress.data.artifact import DataArtifact
from compress.data.augment import ViewRecipe
from compress.engine.stage import StageContext
from compress.evaluate.metrics import top1
from compress.teacher.artifact import Heads, TeacherArtifact
from compress.teacher.loading import load_teacher
from compress.teacher.probe import fit_probe, probe_features
from compress.teacher.prompts import prompts_for


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes both heads and the logit scale."""
    settings = ctx.settings.teacher
    data = DataArtifact(ctx.inputs["data"].path)
    teacher = load_teacher(settings, ctx.host.device, offline=ctx.settings.data.offline)
    prompts = prompts_for(data.classes, settings.templates)
    zero_shot = teacher.class_head(prompts)
    probe = zero_shot
    probe_facts = {}
    if settings.probe and settings.probe_steps and len(data.shots):
        recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
        features = probe_features(teacher, data.shots.pixels, recipe, settings.probe_views, ctx)
        labels = np.repeat(data.shots.labels, settings.probe_views)
        probe = fit_probe(
            features,
            labels,
            zero_shot,
            teacher.logit_scale,
            steps=settings.probe_steps,
            lr=settings.probe_lr,
            progress=ctx.progress,
        )
        probe_facts = {
            "views": len(features),
            "zero_shot_top1_on_views": top1(features @ zero_shot.T, labels),
            "probe_top1_on_views": top1(features @ probe.T, labels),
            "cos_probe_text": float((probe * zero_shot).sum(axis=1).mean()),
        }
    TeacherArtifact(ctx.folder).write_heads(Heads(zero_shot, probe, teacher.logit_scale))
    return {
        "name": teacher.name,
        "params": teacher.params,
        "image_params": teacher.image_params,
        "embed_dim": teacher.embed_dim,
        "input_size": teacher.spec.size,
        "preprocess": teacher.spec.to_json(),
        "logit_scale": teacher.logit_scale,
        "license": teacher.license,
        "revision": teacher.revision,
        "fingerprint": teacher.fingerprint(),
        "templates": list(settings.templates),
        "prompts_example": prompts[0],
        "head": "probe" if probe_facts else "zero_shot",
        "probe": probe_facts,
    }
