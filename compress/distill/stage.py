"""Stage "distill": the student learns from the teacher's cached answers on real and synthetic views."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import load_file

from compress.artifacts import write_json
from compress.distill.batches import Batches
from compress.distill.loop import FitPlan, StepResult, autocast_pays, fit
from compress.distill.objectives import objective_for
from compress.distill.students import initialise, save_student, spec_for
from compress.errors import DataError
from compress.seeds import manual_seed
from compress.stages import StageContext


def run(ctx: StageContext) -> dict[str, Any]:
    """Trains the student and writes student.safetensors, student.json and history.json."""
    settings = ctx.settings.distill
    heads = load_file(ctx.inputs["teacher"].path / "heads.safetensors")
    classes, embed_dim = heads["zero_shot"].shape
    manual_seed(ctx.seed, "student")
    spec = spec_for(settings, ctx.settings.image, classes, embed_dim)
    student = initialise(settings, spec, heads["zero_shot"])
    batches = Batches(ctx, spec.preprocess(ctx.settings.image), "distill")
    if not batches.parts:
        raise DataError(
            "there is nothing to learn from",
            got="no labelled images and no synthetic ones",
            expected="shots >= 1 or generate.per_class >= 1",
            remedy="give --shots 1 or more, or --set generate.per_class=100",
        )
    student.to(memory_format=torch.channels_last).train()
    if settings.freeze_batch_norm:
        freeze_batch_norm(student)
    objective = objective_for(settings)
    bf16 = _precision(ctx, student, batches)

    def loss_at(step: int) -> StepResult:
        batch = batches.at(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = student(batch.images)
        loss, values = objective(logits.float(), batch)
        return StepResult(loss, values, batch.wait_s, batch.tensors())

    plan = FitPlan(
        settings.steps, settings.lr, settings.warmup, settings.weight_decay, settings.grad_clip, settings.ema,
        settings.checkpoint_every, settings.head_lr, ("head.", "proj."),
    )  # fmt: skip
    try:
        history = fit(student, loss_at, plan, folder=ctx.partial, name="distill", seed=ctx.seed, progress=ctx.progress)
    finally:
        batches.close()
    save_student(student, ctx.folder)
    write_json(ctx.folder / "history.json", history)
    return {
        "student": spec.arch,
        "params": student.params,
        "init": spec.init,
        "steps": settings.steps,
        "images_per_step": {pool.kind: count for pool, count in batches.parts},
        "precision": "bf16" if bf16 else "fp32",
        "loss_first": history[0]["loss"],
        "loss_last": history[-1]["loss"],
    }


def freeze_batch_norm(student: torch.nn.Module) -> None:
    """Batch-norm layers use and keep their running statistics; their scales and shifts are still trained."""
    for module in student.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def _precision(ctx: StageContext, student: torch.nn.Module, batches: Batches) -> bool:
    """Whether to train in bfloat16. "auto" measures once and remembers, so that a resumed run goes on as it began."""
    wanted = ctx.settings.distill.precision
    if wanted != "auto":
        return wanted == "bf16"
    remembered = ctx.partial / "precision.json"
    if not remembered.exists():
        write_json(remembered, autocast_pays(student, batches.at(0).images))
    return bool(json.loads(remembered.read_text()))
