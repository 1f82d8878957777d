"""Stage "distill": the student learns from the teacher's cached answers on real and synthetic
views.

A run has up to three phases, all in one loop: feature distillation alone (``feature_steps``), then
    the objective, on the
whole student or on its classifier only (``train=head``); with ``meta.mode`` the objective's steps
are meta steps.
"""

from __future__ import annotations

import json
import math
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from compress.distill.batches import Batches
from compress.distill.loop import FitPlan, StepResult, autocast_pays, fit
from compress.distill.meta import MetaStep
from compress.distill.objectives import Lesson, Objective, Outputs
from compress.distill.small_clip import SmallClip, read_small_clip
from compress.distill.students import Student, StudentSpec, initialize, save_student, spec_for
from compress.engine.config import DistillSettings
from compress.engine.errors import ConfigError, DataError
from compress.engine.seeds import manual_seed
from compress.engine.stage import StageContext
from compress.engine.store import write_json
from compress.teacher.prompts import expand_all

OBJECTIVE_FILE = "objective.safetensors"
# Parameter names: what learns at head_lr, and GenDD's denoiser, which learns as the trunk does and
# without decay [C].
HEADS = (
    "student.head.",
    "student.proj.",
    *(f"objective.terms.{name}." for name in ("feature", "condition", "contraction")),
)
DENOISER = ("objective.terms.gendd.",)


class Taught(nn.Module):
    """The student and the parameters that its objective adds; called as the objective wants its
    outputs.
    """

    def __init__(self, student: Student, objective: Objective) -> None:
        super().__init__()
        self.student, self.objective = student, objective
        self.bf16 = self.frozen = False

    def forward(self, images: Tensor) -> Outputs:
        detach = self.objective.recipe.detach_head
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            return self.student.outputs(
                images, detach_head=detach or self.frozen, frozen=self.frozen
            ).float()

    def settle(self, settings: DistillSettings, step: int) -> None:
        """Puts the modules into the state of update ``step``: what is frozen, which statistics
        move.
        """
        self.train()
        self.frozen = settings.train == "head" and step >= settings.feature_steps
        if self.frozen:
            self.student.trunk.eval()
        elif settings.freeze_batch_norm and settings.init != "random":
            freeze_batch_norm(self.student)


def run(ctx: StageContext) -> dict[str, Any]:
    """Trains the student and writes student.safetensors, student.json, history.json and what the
    objective learned.
    """
    settings = ctx.settings.distill
    heads = load_file(ctx.inputs["teacher"].path / "heads.safetensors")
    classes, embed_dim = heads["zero_shot"].shape
    manual_seed(ctx.seed, "student")
    small = _small_clip(ctx)
    spec = spec_for(settings, ctx.settings.image, classes, embed_dim, small)
    student = initialize(settings, spec, heads["zero_shot"], small)
    batches = Batches(ctx, spec.preprocess(ctx.settings.image), "distill")
    try:
        if not batches.parts:
            raise DataError(
                "there is nothing to learn from",
                got="no labeled images and no synthetic ones",
                expected="shots >= 1 or generate.per_class >= 1",
                remedy="give --shots 1 or more, or --set generate.per_class=100",
            )
        taught = Taught(student, Objective(lesson_for(settings, student, heads, batches)))
        taught.to(memory_format=torch.channels_last)
        history = _train(ctx, taught.to(ctx.host.device), batches)
        taught.cpu()
    finally:
        batches.close()
    save_student(student, ctx.folder)
    extra = {
        name: value.detach().contiguous() for name, value in taught.objective.state_dict().items()
    }
    if extra:
        save_file(extra, ctx.folder / OBJECTIVE_FILE)
    write_json(ctx.folder / "history.json", history)
    return _facts(settings, student, spec, batches, taught, history)


def _small_clip(ctx: StageContext) -> SmallClip | None:
    """The published small CLIP that the student starts as, where a folder of one is named."""
    settings = ctx.settings.distill
    if settings.init != "clip" or settings.init_path is None or not settings.init_path.is_dir():
        return None
    classes = json.loads((ctx.inputs["data"].path / "classes.json").read_text())
    return read_small_clip(
        settings.init_path, settings.student, expand_all(ctx.settings.teacher.templates, classes)
    )


def lesson_for(
    settings: DistillSettings, student: Student, heads: dict[str, Tensor], batches: Batches
) -> Lesson:
    """What the objective may know: heads and statistics of the cached teacher features, never a
    test image.
    """
    width = int(student.head.in_features if student.proj is None else student.proj.in_features)
    rows, labels = batches.features()
    means = heads["probe"].clone()
    for class_id in labels.unique():
        means[class_id] = rows[labels == class_id].mean(0)
    conditions = [
        pool.targets["conditions"].shape[1]
        for pool, _ in batches.parts
        if "conditions" in pool.targets
    ]
    return Lesson(
        settings,
        len(heads["probe"]),
        width,
        heads["zero_shot"],
        heads["probe"],
        float(heads["logit_scale"]),
        functional.normalize(means, dim=-1),
        rows.mean(0) if len(rows) else torch.zeros(heads["probe"].shape[1]),
        rows.std(0).clamp(min=1e-6) if len(rows) > 1 else torch.ones(heads["probe"].shape[1]),
        conditions[0] if conditions else 0,
        frozenset(batches.has),  # type: ignore[arg-type]
    )


def steps_for(settings: DistillSettings, images: int) -> int:
    """Number of updates: as set, or as many as ``epochs`` passes over the images take."""
    if settings.epochs is None:
        return settings.steps
    return max(1, math.ceil(settings.epochs * images / settings.batch))


def _train(ctx: StageContext, taught: Taught, batches: Batches) -> list[dict[str, float]]:
    settings = ctx.settings.distill
    plan = FitPlan(
        steps_for(settings, batches.images),
        settings.lr,
        settings.warmup,
        settings.weight_decay,
        settings.grad_clip,
        settings.ema,
        settings.checkpoint_every,
        settings.head_lr,
        HEADS,
        no_decay=DENOISER,
    )
    taught.settle(settings, 0)
    taught.bf16 = _precision(ctx, taught.student, batches)
    meta_from = _first_meta_step(settings, plan.steps, batches)
    meta = MetaStep(taught, settings.meta, lambda step: plan.lr * plan.rate(step))

    def plain(step: int) -> StepResult:
        batch = batches.at(step).to(ctx.host.device)
        loss, values = taught.objective(taught(batch.images), batch, step)
        return StepResult(loss, values, batch.wait_s, batch.tensors())

    def loss_at(step: int) -> StepResult:
        taught.settle(settings, step)
        return (
            plain(step)
            if step < meta_from
            else meta(step, batches.at(step, apart=True).to(ctx.host.device))
        )

    return fit(
        taught,
        loss_at,
        plan,
        folder=ctx.partial,
        name="distill",
        seed=ctx.seed,
        progress=ctx.progress,
    )


def _first_meta_step(settings: DistillSettings, steps: int, batches: Batches) -> int:
    """The first update that is a meta step; ``steps`` if none is.

    Raises:
        ConfigError: meta steps are asked for and there is only one style to learn from.
    """
    if settings.meta.mode == "none":
        return steps
    if len(batches.styles) < 2:
        raise ConfigError(
            "a meta step needs images of at least two styles",
            got=f"styles {batches.styles.tolist()}",
            expected="a strategy that gives its images styles",
            remedy="--set generate.prompts.kind=words, or meta.mode=none",
        )
    return max(settings.feature_steps, round(settings.meta.warmup * steps))


def _facts(
    settings: DistillSettings,
    student: Student,
    spec: StudentSpec,
    batches: Batches,
    taught: Taught,
    history: Any,
) -> dict[str, Any]:
    return {
        "student": spec.arch,
        "params": student.params,
        "init": spec.init,
        "objective": settings.objective,
        "terms": taught.objective.weights,
        "meta": settings.meta.mode,
        "train": settings.train,
        "feature_steps": settings.feature_steps,
        "steps": steps_for(settings, batches.images),
        "images_per_step": {pool.kind: count for pool, count in batches.parts},
        "precision": "bf16" if taught.bf16 else "fp32",
        "loss_first": history[0]["loss"],
        "loss_last": history[-1]["loss"],
    }


def freeze_batch_norm(student: nn.Module) -> None:
    """Batch-norm layers use and keep their running statistics; their scales and shifts are still
    trained.
    """
    for module in student.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _precision(ctx: StageContext, student: nn.Module, batches: Batches) -> bool:
    """Whether to train in bfloat16. "auto" measures once and remembers, so that a resumed run goes
    on as it began.
    """
    wanted = ctx.settings.distill.precision
    if wanted != "auto":
        return wanted == "bf16"
    remembered = ctx.partial / "precision.json"
    if not remembered.exists():
        write_json(remembered, autocast_pays(student, batches.at(0).images.to(ctx.host.device)))
    return bool(json.loads(remembered.read_text()))
