"""Stage "quantize": calibrate on training views, then train through the rounding.

The loss is the distillation objective's, if that is about logits alone; otherwise the float student
is the teacher of its int8 twin, so that no method gets targets here that it did not have before.

Which of the two results is kept (calibrated only, or trained) is decided by their loss on training
views that neither has seen; test images take no part. Both losses are in the facts, so a training
that did not help is visible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from compress.distill.batches import Batch, Batches
from compress.distill.loop import FitPlan, StepResult, fit
from compress.distill.objectives import Objective, Outputs, kl_distill, recipe_for
from compress.distill.stage import lesson_for
from compress.distill.students import Student, load_student
from compress.engine.stage import StageContext
from compress.engine.store import write_json
from compress.quantize.graph import (
    PreparedStudent,
    fake_quantizers,
    prepare,
    save_prepared,
    set_averaging,
    set_observers,
)

CALIBRATION_CHUNK = 32
"""Images per calibration batch; a range is the mean of the batches' ranges, so that one outlier
cannot set it.
"""
TRAINING_AVERAGING = 0.01  # torch's default for moving ranges
Loss = Callable[
    [Tensor, Batch], tuple[Tensor, dict[str, float]]
]  # (logits (B, K), batch) -> loss, numbers
PROBE_BATCHES = 4
"""Unseen training batches on which calibrated and trained weights are compared."""


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes prepared.safetensors (the trained graph with its ranges), quantize.json and
    history.json.
    """
    settings = ctx.settings.quantize
    student = load_student(ctx.inputs["distill"].path)
    preprocess = student.spec.preprocess(ctx.settings.image)
    batches = Batches(ctx, preprocess, "quantize")
    try:
        objective = quantize_loss(ctx, student, batches)
        images, calibrated_on = batches.calibration(settings.calibration_images)
        prepared = prepare(student, images, settings.float_blocks)
        prepared.to(memory_format=torch.channels_last)
        calibrate(prepared, images)
        before = {name: value.detach().clone() for name, value in prepared.state_dict().items()}
        history = _train(ctx, prepared, batches, objective)
        probe = [batches.at(settings.steps + index) for index in range(PROBE_BATCHES)]
    finally:
        batches.close()

    set_observers(prepared, observe=False, quantize=True)
    losses = {"fp32": mean_loss(student, probe, objective)}
    if history:
        losses["qat"] = mean_loss(prepared, probe, objective)
        trained = {name: value.detach().clone() for name, value in prepared.state_dict().items()}
    prepared.load_state_dict(before)
    set_observers(prepared, observe=False, quantize=True)
    losses["calibrated"] = mean_loss(prepared, probe, objective)
    kept = "qat" if losses.get("qat", float("inf")) <= losses["calibrated"] else "calibrated"
    if kept == "qat":
        prepared.load_state_dict(trained)
    elif history:
        ctx.progress.note(
            f"quantization-aware training did not help (loss {losses['qat']:.4f}, calibration "
            "alone "
            f"{losses['calibrated']:.4f} on unseen training views): the calibrated weights are kept"
        )

    save_prepared(prepared, ctx.folder)
    write_json(ctx.folder / "history.json", history)
    facts = {
        "mode": settings.mode,
        "kept": kept,
        "steps": settings.steps if history else 0,
        "loss": losses,
        "fake_quantizers": len(fake_quantizers(prepared)),
        "calibration_images": len(calibrated_on),
        "input_size": student.spec.input_size,
        "float_blocks": list(settings.float_blocks),
    }
    write_json(ctx.folder / "quantize.json", {**facts, "calibration": calibrated_on})
    return facts


def calibrate(prepared: PreparedStudent, images: Tensor) -> None:
    """Sets every range to the mean over batches of the batch's range; leaves observers and rounding
    switched on.

    Args: images: ``(n, 3, S, S)`` float32, normalized; they are dealt into batches so that each
        holds every kind
    of image.
    """
    set_observers(prepared, observe=True, quantize=False)  # ranges of the float activations
    chunks = max(1, len(images) // CALIBRATION_CHUNK)
    with torch.no_grad():
        for index in range(chunks):
            set_averaging(prepared, 1 / (index + 1))
            prepared(images[index::chunks])
    set_averaging(prepared, TRAINING_AVERAGING)
    set_observers(prepared, observe=True, quantize=True)


def quantize_loss(ctx: StageContext, student: Student, batches: Batches) -> Loss:
    """What the int8 twin is trained for."""
    settings = ctx.settings.distill
    if not recipe_for(settings).logits_only:

        def imitate(logits: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
            with torch.no_grad():
                wanted = student(batch.images)
            loss = kl_distill(logits, wanted, settings.temperature)
            return loss, {"imitate": float(loss.detach())}

        return imitate
    heads = load_file(ctx.inputs["teacher"].path / "heads.safetensors")
    objective = Objective(lesson_for(settings, student, heads, batches))

    def same(logits: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        loss, values = objective(Outputs(logits[:, :0], logits), batch)
        return loss, values

    return same


def mean_loss(model: nn.Module, batches: Sequence[Batch], objective: Loss) -> float:
    """The objective's mean over batches, without gradients."""
    with torch.no_grad():
        return float(
            sum(float(objective(model(batch.images), batch)[0]) for batch in batches) / len(batches)
        )


def _train(
    ctx: StageContext, prepared: PreparedStudent, batches: Batches, objective: Loss
) -> list[dict[str, float]]:
    """Quantization-aware training; observers stop at ``freeze_at`` so that the last steps train for
    the final grid.
    """
    settings, distill = ctx.settings.quantize, ctx.settings.distill
    if settings.mode == "ptq" or settings.steps == 0:
        return []
    frozen_from = round(settings.freeze_at * settings.steps)

    def loss_at(step: int) -> StepResult:
        batch = batches.at(step)
        try:
            loss, values = objective(prepared(batch.images), batch)
        except AssertionError:  # torchao's observers refuse a range that is NaN
            loss, values = torch.tensor(float("nan")), {}
        return StepResult(loss, values, batch.wait_s, batch.tensors())

    def freeze(step: int) -> None:
        if step + 1 >= frozen_from:
            set_observers(prepared, observe=False, quantize=True)

    plan = FitPlan(
        settings.steps,
        settings.lr,
        weight_decay=distill.weight_decay,
        grad_clip=distill.grad_clip,
        checkpoint_every=settings.checkpoint_every,
    )
    return fit(
        prepared,
        loss_at,
        plan,
        folder=ctx.partial,
        name="quantize",
        seed=ctx.seed,
        progress=ctx.progress,
        after_step=freeze,
    )
