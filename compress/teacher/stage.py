"""Stage "teacher": the heads of every teacher, from texts, names and shots, and their probes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from compress.data.artifact import DataArtifact
from compress.data.augment import ViewRecipe, sampled, views_each
from compress.engine.stage import StageContext, resolve
from compress.evaluate.metrics import top1
from compress.teacher.artifact import Head, Heads, Seen, TeacherArtifact, unit
from compress.teacher.clip import ClipTeacher
from compress.teacher.ensemble import Ensemble
from compress.teacher.heads.head import Fitted, Shots
from compress.teacher.heads.table import HEADS, PROBE
from compress.teacher.licenses import notice, stated_license
from compress.teacher.loading import each_teacher, load_for
from compress.teacher.priors import prior_of
from compress.teacher.probe import probe_features
from compress.teacher.teacher import Teacher


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes the heads of every teacher."""
    data = DataArtifact(ctx.inputs["data"].path)
    for one in each_teacher(ctx.settings.teacher):
        if (text := notice(stated_license(one.name))) is not None:  # before a download
            ctx.progress.note(f"license of teacher {one.name}: {text}")
    teacher = load_for(ctx)
    members = teacher.members if isinstance(teacher, Ensemble) else (teacher,)
    made = [_head_of(ctx, member, data) for member in members]
    artifact = TeacherArtifact(ctx.folder)
    heads = Heads(tuple(head for head, _, _ in made))
    artifact.write_heads(heads)
    seen = [one for _, one, _ in made if one is not None]
    if len(seen) == len(made):
        features = np.concatenate([one.features for one in seen], axis=1)
        artifact.write_seen(Seen(seen[0].rows, heads.space(features)))
    facts = [facts for _, _, facts in made]
    notes = list(dict.fromkeys(note for row in facts for note in row.pop("notes", ())))
    for note in notes:
        ctx.progress.note(note)
    if len(facts) == 1:
        return {**facts[0], "notes": notes}
    joined = {**_about(teacher), "notes": notes}
    kinds = {row["head"] for row in facts}
    return {**joined, "head": kinds.pop() if len(kinds) == 1 else "probe", "members": facts}


def _head_of(
    ctx: StageContext, teacher: Teacher, data: DataArtifact
) -> tuple[Head, Seen | None, dict[str, Any]]:
    """The head of one teacher, its features of the shots it was fitted on, what is recorded."""
    settings = ctx.settings.teacher
    shots = data.shots
    classes = data.classes
    fits = bool(settings.probe and settings.probe_steps and len(shots))
    features = np.empty((0, teacher.embed_dim), np.float32)
    labels = images = np.empty(0, np.int64)
    seen: Seen | None = None
    if fits or (len(shots) and not isinstance(teacher, ClipTeacher)):
        recipe = ViewRecipe.from_settings(ctx.settings.label, ctx.settings.image)
        if ctx.settings.label.teacher_view == "own":
            recipe = recipe.at(teacher.spec.size)
        most = ctx.settings.label.most_views
        rows = sampled(shots.labels, most, ctx.seed)
        views = views_each(len(rows), settings.probe_views, *ctx.settings.label.limits)
        features = probe_features(teacher, shots.pixels, rows, recipe, views, ctx)
        labels = np.repeat(shots.labels[rows], views)
        images = np.repeat(rows, views)
        seen = Seen(rows, unit(features.reshape(len(rows), views, -1).mean(axis=1)))
    prior = prior_of(teacher, classes, settings.templates, features, labels, images)
    head = Head(prior.zero_shot, prior.start, prior.scale or teacher.logit_scale, prior.center)
    probe_facts: dict[str, Any] = {}
    if prior.scale is not None:
        correct = top1(head.centered(features) @ prior.start.T, labels)
        probe_facts = {"kind": "discriminant", "views": len(labels), "probe_top1_on_views": correct}
        probe_facts["logit_scale"] = prior.scale
    elif fits:
        known = (features, labels, images, prior.start, prior.anchored, teacher.logit_scale)
        head, probe_facts = _fitted(head, Shots(*known, settings, ctx.progress))
    kind = "probe" if probe_facts else "zero_shot"
    facts = {**_about(teacher), **prior.facts, "head": kind, "probe": probe_facts}
    used = len(np.unique(images))
    if 0 < used < len(shots):
        told = f"the teacher's head was fitted on {used:,} of {len(shots):,} images"
        facts["notes"] = [*facts.get("notes", ()), f"{told} (label.most_views)"]
    return head, seen, facts


def _fitted(head: Head, shots: Shots) -> tuple[Head, dict[str, Any]]:
    """The head as ``teacher.heads`` has it, and what is recorded of it."""
    names = shots.settings.heads
    made: dict[str, Fitted] = {name: resolve(HEADS[name])(shots) for name in names}
    rows = [one.rows for one in made.values()]
    probe = rows[0] if len(rows) == 1 else unit(np.mean(rows, axis=0))
    if names == (PROBE,):
        return replace(head, probe=probe), {"views": len(shots.features), **made[PROBE].facts}
    head = replace(head, probe=probe, answers=tuple(one.answer for one in made.values()))
    return head, {
        "views": len(shots.features),
        "heads": {name: dict(one.facts) for name, one in made.items()},
        "zero_shot_top1_on_views": top1(shots.features @ shots.texts.T, shots.labels),
        "probe_top1_on_views": top1(head.logits(shots.features), shots.labels),
    }


def _about(teacher: Teacher) -> dict[str, Any]:
    facts = {
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
    }
    text = notice(teacher.license)
    return facts if text is None else {**facts, "license_notice": text}
