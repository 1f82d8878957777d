"""Stage "distill": the student learns the teacher's cached targets on real and synthetic views.

A run has up to four phases in one loop: stage 1 of GenDD, feature distillation alone
(``feature_steps``), then the objective on the whole student or on its classifier only
(``train=head``); with ``meta.mode`` the objective's last steps are meta steps.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import runtime
from compress.data.artifact import DataArtifact
from compress.distill.artifact import PRECISION, DistillArtifact
from compress.distill.batches import Batch, Batches
from compress.distill.domains import apart
from compress.distill.first_weights import initialize
from compress.distill.frozen import Space, own_classifier, pooled_features, start_head
from compress.distill.loop import FitPlan, History, StepResult, autocast_pays, fit
from compress.distill.meta import MetaStep
from compress.distill.missing import require_styles
from compress.distill.mixing import mixed_loss, share_at
from compress.distill.objectives import Objective, pretraining_steps, require_trusted_labels
from compress.distill.pools import ViewPool
from compress.distill.pretraining import Pretraining
from compress.distill.schedule import feature_steps_for, stays_frozen, steps_for
from compress.distill.small_clip import SmallClip, read_small_clip
from compress.distill.students import Outputs, Student, StudentSpec, spec_for
from compress.distill.terms import ObjectiveInputs
from compress.distill.two_heads import LabelHeadTerm, best_share, fresh_views, merge
from compress.engine import ranks
from compress.engine.config import DistillSettings
from compress.engine.errors import DataError
from compress.engine.partial import keep_json
from compress.engine.seeds import manual_seed
from compress.engine.stage import StageContext
from compress.teacher.artifact import Heads, TeacherArtifact
from compress.teacher.prompts import prompts_for

# Prefixes of parameter names: what trains at head_lr, and GenDD's denoiser, which trains at the
# trunk's rate without weight decay [C].
HEADS = (
    "student.head.",
    "student.proj.",
    *(f"objective.terms.{name}." for name in ("feature", "condition", "contraction", "label_head")),
)
DENOISER = ("objective.terms.gendd.",)


class StudentWithObjective(nn.Module):
    """The student and the parameters of its objective: ``images, real -> Outputs``.

    ``space``: the inputs are features of the trunk in this space, see ``frozen.py``.
    ``apart``: real and other images pass apart from each other, see ``domains.py``.
    """

    def __init__(self, student: Student, objective: Objective) -> None:
        super().__init__()
        self.student = student
        self.objective = objective
        self.bf16 = self.frozen = self.apart = False
        self.pretraining: Pretraining | None = None
        self.space: Space | None = None

    def forward(self, images: Tensor, real: Tensor | None = None) -> Outputs:
        parted = self.apart and self.space is None
        if parted and real is not None and 0 < int(real.sum()) < len(real):
            return apart(self._outputs, self.student, images, real)
        return self._outputs(images)

    def _outputs(self, images: Tensor) -> Outputs:
        detach = self.objective.spec.detach_head or self.frozen
        if self.space is not None:
            inputs = self.space.enter(images) if self.student.proj is None else images
            return self.student.outputs_of(inputs, detach_head=detach, frozen=True)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            return self.student.outputs(images, detach_head=detach, frozen=self.frozen).float()

    def set_phase(self, settings: DistillSettings, step: int) -> None:
        """Freezes trunk and batch statistics as update ``step`` needs it."""
        self.train()
        self.frozen = settings.train == "head" and step >= settings.feature_steps
        if self.frozen:
            self.student.trunk.eval()
        elif settings.freeze_batch_norm and settings.init != "random":
            freeze_batch_norm(self.student)


def run(ctx: StageContext) -> dict[str, Any]:
    """Trains the student and writes it, its history and the objective's parameters."""
    settings = ctx.settings.distill
    image = ctx.settings.image
    heads = TeacherArtifact(ctx.inputs["teacher"].path).heads()
    classes, embed_dim = heads.probe.shape
    manual_seed(ctx.seed, "student")
    small = _small_clip(ctx)
    spec = spec_for(settings, image, classes, embed_dim, small)
    if spec.power_norm and _starts_as_names(ctx, spec):
        spec = replace(spec, power_norm=False)  # those rows read features as they are pooled
    start = heads.probe if heads.zero_shot is None else heads.zero_shot
    student = initialize(settings, spec, torch.from_numpy(start), small, ctx.weights)
    batches = Batches(ctx, spec.preprocess(image), "distill")
    try:
        require_images(bool(batches.parts))
        require_trusted_labels(settings, any(pool.kind == "real" for pool, _ in batches.parts))
        steps = steps_for(settings, batches.images)
        phase = feature_steps_for(settings, steps)
        settings = settings.model_copy(update={"feature_steps": phase})
        inputs = objective_inputs(settings, student, heads, batches)
        objective = Objective(inputs)
        model = StudentWithObjective(student, objective)
        before = pretraining_steps(settings, steps)
        if before:
            manual_seed(ctx.seed, "pretraining")
            model.pretraining = Pretraining(inputs)
        model.to(memory_format=torch.channels_last)
        head_start = None
        if _stays_on_features(settings):
            model.space, head_start = _features_for_images(ctx, student, batches)
        label_head = _label_head(objective)
        if label_head is not None:
            label_head.start_as(student)
        history = _train(ctx, settings, model.to(ctx.host.device), batches, steps, before)
        model.cpu()
        label_share = None
        if label_head is not None:
            label_share = settings.label_share
            if label_share is None:
                label_share = _chosen_share(ctx, model, label_head, batches)
            merge(student, label_head, label_share)
        if model.space is not None and student.proj is None:
            model.space.leave(student.head)
    finally:
        batches.close()
    artifact = DistillArtifact(ctx.folder)
    artifact.write_student(student)
    artifact.write_objective(objective.state_dict())
    artifact.write_history(history)
    return {
        "student": spec.arch,
        "params": student.params,
        "init": spec.init,
        "objective": settings.objective,
        "terms": objective.weights,
        "meta": settings.meta.mode,
        "train": settings.train,
        "feature_steps": settings.feature_steps,
        "steps": steps,
        **({"pretraining_steps": before} if before else {}),
        "images_per_step": {pool.kind: count for pool, count in batches.parts},
        "precision": "bf16" if model.bf16 else "fp32",
        **({"head_start": head_start} if head_start else {}),
        **({"label_share": label_share} if label_share is not None else {}),
        **ranks.facts(batch_norm="synced"),
        "loss_first": history[0]["loss"],
        "loss_last": history[-1]["loss"],
    }


def _stays_on_features(settings: DistillSettings) -> bool:
    """Whether the head trains on the frozen trunk's features, computed once."""
    return stays_frozen(settings) and settings.meta.mode == "none"


def _features_for_images(
    ctx: StageContext, student: Student, batches: Batches
) -> tuple[Space, str | None]:
    """Puts the frozen trunk's features in the place of the images, and starts the head on them."""
    for pool, _ in batches.parts:
        features_of = partial(_named_features, ctx, student, pool, batches.preprocess)
        # the first rank's: they are kept in files, and others would compute them again
        batches.stand_ins |= ranks.first(features_of)
    features = torch.cat([batches.stand_ins[pool.kind][pool.members] for pool, _ in batches.parts])
    images = [pool.members // pool.views for pool, _ in batches.parts]
    labels = np.concatenate(
        [pool.labels[rows] for (pool, _), rows in zip(batches.parts, images, strict=True)]
    )
    starts = np.cumsum([0, *(len(pool.images) for pool, _ in batches.parts)])
    image = np.concatenate([start + rows for start, rows in zip(starts, images, strict=False)])
    space = Space.of(features)
    if student.proj is not None:  # a cosine head starts as texts
        return space, None
    classes = DataArtifact(ctx.inputs["data"].path).classes
    started = (student, space, features, labels, image, classes, ctx.weights)
    return space, start_head(ctx.settings.distill, *started)


def _starts_as_names(ctx: StageContext, spec: StudentSpec) -> bool:
    """Whether the first head is rows of the student's own network; see ``start_head``."""
    if not _stays_on_features(ctx.settings.distill) or spec.embed_dim is not None:
        return False
    classes = DataArtifact(ctx.inputs["data"].path).classes
    own = own_classifier(ctx.settings.distill, spec.arch, classes, ctx.weights)
    return own is not None and own.known.complete


def _named_features(
    ctx: StageContext, student: Student, pool: ViewPool, preprocess: runtime.PreprocessSpec
) -> dict[str, Tensor]:
    return {pool.kind: pooled_features(ctx, student, pool, preprocess)}


def require_images(some: bool) -> None:
    """Raises DataError without any image to learn from."""
    if not some:
        remedy = "give --shots 1 or more, or --set generate.per_class=100"
        raise DataError("there are no images to learn from", remedy=remedy)


def _small_clip(ctx: StageContext) -> SmallClip | None:
    """The published small CLIP that the student starts as, if ``init_path`` is a folder."""
    settings = ctx.settings.distill
    if settings.init != "clip" or settings.init_path is None or not settings.init_path.is_dir():
        return None
    classes = DataArtifact(ctx.inputs["data"].path).classes
    prompts = prompts_for(classes, ctx.settings.teacher.templates)
    return read_small_clip(settings.init_path, settings.student, prompts)


def objective_inputs(
    settings: DistillSettings, student: Student, heads: Heads, batches: Batches
) -> ObjectiveInputs:
    """The teacher's heads and cached features; no test image takes part."""
    rows = batches.features()
    zero_shot = None if heads.zero_shot is None else torch.from_numpy(heads.zero_shot)
    probe = torch.from_numpy(heads.probe)
    means = probe.clone()
    for part in rows[:1]:
        for class_id in part.labels.unique():
            means[class_id] = part.features[part.labels == class_id].float().mean(0)
    return ObjectiveInputs(
        settings,
        student.width,
        zero_shot,
        probe,
        heads.logit_scale,
        functional.normalize(means, dim=-1),
        rows,
        batches.condition_dim,
        batches.has,
        student.head,
        student.logit_scale,
    )


def _train(
    ctx: StageContext,
    settings: DistillSettings,
    model: StudentWithObjective,
    batches: Batches,
    steps: int,
    before: int,
) -> History:
    plan = FitPlan(
        steps,
        settings.lr,
        settings.warmup,
        settings.weight_decay,
        settings.grad_clip,
        settings.ema,
        settings.checkpoint_every,
        settings.head_lr,
        HEADS,
        no_decay=DENOISER,
        optimizer=settings.optimizer,
        momentum=settings.momentum,
        beta2_start=settings.beta2_start,
        before=before,
        before_lr=settings.gendd.pretrain_lr or settings.lr,
    )
    mixup = settings.mixup
    model.set_phase(settings, 0)
    model.bf16 = model.space is None and _bf16(ctx, model.student, batches)
    meta_from = before + _first_meta_step(settings, steps, batches)
    meta = MetaStep(model, settings.meta, lambda step: plan.lr * plan.rate(step))
    model.apart = settings.batch_norm == "domain"

    def loss_at(step: int) -> StepResult:
        model.set_phase(settings, step - before)
        if step >= meta_from:
            return meta(step, batches.at(step, apart=True).to(ctx.host.device))
        batch = batches.at(step).to(ctx.host.device)
        if step < before:
            assert model.pretraining is not None
            loss = model.pretraining(model(batch.images).pooled, batch)
            values = {"pretraining": float(loss.detach())}
        else:
            loss, values = _loss(model, batch, step - before, share_at(mixup, ctx.seed, step))
        return StepResult(loss, values, batch.wait_s, batch.tensors())

    @torch.no_grad()
    def forward_at(step: int) -> None:
        model.set_phase(settings, step - before)
        batch = batches.at(step).to(ctx.host.device)
        parted = model.apart and bool(batch.real.any())
        model(batch.images[batch.real] if parted else batch.images)

    return fit(
        model,
        loss_at,
        plan,
        forward_at=forward_at,
        folder=ctx.partial,
        name="distill",
        seed=ctx.seed,
        progress=ctx.progress,
    )


def _loss(
    model: StudentWithObjective, batch: Batch, step: int, share: float | None
) -> tuple[Tensor, dict[str, float]]:
    """The objective of a batch, of mixed images with ``share``; and numbers to log."""
    if share is None:
        loss: tuple[Tensor, dict[str, float]]
        loss = model.objective(model(batch.images, batch.real), batch, step)
        return loss
    return mixed_loss(model, lambda out, one: model.objective(out, one, step), batch, share)


def _label_head(objective: Objective) -> LabelHeadTerm | None:
    term = dict(objective.terms.items()).get("label_head")
    assert term is None or isinstance(term, LabelHeadTerm)
    return term


@torch.no_grad()
def _chosen_share(
    ctx: StageContext, model: StudentWithObjective, second: LabelHeadTerm, batches: Batches
) -> float:
    """The label head's share that suits fresh views of the shots best; see ``two_heads.py``."""
    student = model.student.eval()
    own, other, labels = [], [], []
    for images, classes in fresh_views(ctx, batches):
        pooled = student.trunk(images)
        read = student.project(pooled)
        if read is None:
            read = pooled if model.space is None else model.space.enter(pooled)
        own.append(student.classify(read))
        other.append(second.logits(read))
        labels.append(classes)
    return best_share(torch.cat(own), torch.cat(other), torch.cat(labels))


def _first_meta_step(settings: DistillSettings, steps: int, batches: Batches) -> int:
    """The first update that is a meta step, ``steps`` if none is; ConfigError for one style."""
    if settings.meta.mode == "none":
        return steps
    require_styles(len(batches.styles), str(batches.styles.tolist()))
    return max(settings.feature_steps, round(settings.meta.warmup * steps))


def freeze_batch_norm(student: nn.Module) -> None:
    """Batch norms keep and use their running statistics; their scales and shifts still train."""
    for module in student.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _bf16(ctx: StageContext, student: nn.Module, batches: Batches) -> bool:
    """Whether to train in bfloat16; "auto" measures once, and a resumed run keeps the answer."""
    precision = ctx.settings.distill.precision
    if precision != "auto":
        return precision == "bf16"
    answer = ctx.partial / PRECISION

    def measured() -> dict[str, Tensor]:
        if not answer.exists():
            keep_json(answer, autocast_pays(student, batches.at(0).images.to(ctx.host.device)))
        return {"bf16": torch.tensor(json.loads(answer.read_text(encoding="utf-8")))}

    return bool(ranks.first(measured)["bf16"])
