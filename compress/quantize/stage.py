"""Stage "quantize": calibrate on training views, then train through the rounding, or round well.

The loss is the distillation objective if that is on logits alone; otherwise the float student is
the teacher of its int8 twin, so no method gets targets here that it lacked before.

The lowest loss on unseen training views decides which weights are kept: calibrated, trained or,
where nothing is trained, rounded layer by layer; test images take no part. All losses are in the
facts, so a training that did not help is visible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compress.distill.artifact import DistillArtifact
from compress.distill.batches import Batch, Batches
from compress.distill.loop import FitPlan, History, StepResult, fit
from compress.distill.losses import kl_distill
from compress.distill.objectives import Objective, objective_spec
from compress.distill.stage import objective_inputs
from compress.distill.students import Outputs, Student
from compress.engine import ranks
from compress.engine.stage import StageContext
from compress.quantize.artifact import QuantizeArtifact
from compress.quantize.graph import PreparedStudent, prepare
from compress.quantize.reconstruct import layers_of, reconstruct
from compress.quantize.scales import calibrate, fake_quantizers, set_observers, share_ranges
from compress.quantize.schedule import compared_batches, training_steps
from compress.teacher.artifact import TeacherArtifact

Loss = Callable[[Tensor, Batch], tuple[Tensor, dict[str, float]]]  # logits (B, K) -> loss, numbers


def run(ctx: StageContext) -> dict[str, Any]:
    """Writes the prepared graph with its ranges, how it was made, and the training history."""
    settings = ctx.settings.quantize
    student = DistillArtifact(ctx.inputs["distill"].path).student()
    batches = Batches(ctx, student.spec.preprocess(ctx.settings.image), "quantize")
    try:
        loss = quantize_loss(ctx, student, batches)
        images, calibrated_on = batches.calibration(settings.calibration_images)
        with ctx.progress.task("calibrate", total=len(images), unit="image") as task:
            prepared = prepare(student, images, settings.float_blocks)
            prepared.to(memory_format=torch.channels_last)
            calibrate(prepared, images, task)
        calibrated = _copy_state(prepared)
        fitted = _reconstructed(ctx, prepared, images)
        history = _train(ctx, prepared, batches, loss)
        probes = compared_batches(len(history))
        probe = [batches.at(settings.steps + index, whole=True) for index in range(probes)]
    finally:
        batches.close()

    set_observers(prepared, observe=False, quantize=True)
    losses = {"fp32": mean_loss(student, probe, loss)}
    states = {}
    if history or fitted:
        states["qat" if history else "reconstructed"] = _copy_state(prepared)
    states["calibrated"] = calibrated
    for name, state in states.items():
        prepared.load_state_dict(state)
        set_observers(prepared, observe=False, quantize=True)
        losses[name] = mean_loss(prepared, probe, loss)
    kept = min(states, key=lambda name: losses[name])  # of a tie the first
    prepared.load_state_dict(states[kept])
    set_observers(prepared, observe=False, quantize=True)
    if history and kept == "calibrated":
        ctx.progress.note(
            f"quantization-aware training did not help (loss {losses['qat']:.4f}, calibration "
            f"alone {losses['calibrated']:.4f} on unseen training views): the calibrated weights "
            "are kept"
        )

    facts = {
        "mode": settings.mode,
        "kept": kept,
        "steps": settings.steps if history else 0,
        "loss": losses,
        "fake_quantizers": len(fake_quantizers(prepared)),
        "calibration_images": len(calibrated_on),
        "input_size": student.spec.input_size,
        "float_blocks": list(settings.float_blocks),
        **ranks.facts(),
    }
    if kept != "reconstructed":
        fitted = {}
    artifact = QuantizeArtifact(ctx.folder)
    artifact.write(prepared.state_dict(), facts, calibrated_on, history, fitted)
    return facts


def _reconstructed(
    ctx: StageContext, prepared: PreparedStudent, images: Tensor
) -> dict[str, Tensor]:
    """Rounds weights that will not be trained layer by layer; gives them as they were fitted."""
    settings = ctx.settings.quantize
    if training_steps(settings) or settings.rounding == "nearest":
        return {}
    with ctx.progress.task("round weights", total=len(layers_of(prepared)), unit="layer") as task:
        return reconstruct(prepared, images, task)


def _copy_state(model: nn.Module) -> dict[str, Tensor]:
    # no OrderedDict: without its metadata observers load with torch's eps, as in `load_prepared`
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def quantize_loss(ctx: StageContext, student: Student, batches: Batches) -> Loss:
    """The loss of quantization-aware training."""
    settings = ctx.settings.distill
    if objective_spec(settings).logits_only:
        heads = TeacherArtifact(ctx.inputs["teacher"].path).heads()
        objective = Objective(objective_inputs(settings, student, heads, batches))
        return lambda logits, batch: objective(Outputs(logits[:, :0], logits), batch)

    def imitate(logits: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        with torch.no_grad():
            target = student(batch.images)
        loss = kl_distill(logits, target, settings.temperature)
        return loss, {"imitate": float(loss.detach())}

    return imitate


@torch.no_grad()
def mean_loss(model: nn.Module, batches: Sequence[Batch], loss: Loss) -> float:
    """Mean loss over batches."""
    return sum(float(loss(model(batch.images), batch)[0]) for batch in batches) / len(batches)


def _train(ctx: StageContext, prepared: PreparedStudent, batches: Batches, loss: Loss) -> History:
    """Quantization-aware training; from ``freeze_at`` on the ranges are fixed."""
    settings = ctx.settings.quantize
    distill = ctx.settings.distill
    if training_steps(settings) == 0:
        return []
    share_ranges(prepared)
    freeze_from = round(settings.freeze_at * settings.steps)

    def loss_at(step: int) -> StepResult:
        batch = batches.at(step)
        try:
            value, numbers = loss(prepared(batch.images), batch)
        except AssertionError:  # torchao's observers refuse a range that is NaN
            return StepResult(torch.tensor(float("nan")), batch=batch.tensors())
        return StepResult(value, numbers, batch.wait_s, batch.tensors())

    def freeze(step: int) -> None:
        if step + 1 >= freeze_from:
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
