"""The only loop that trains students: distillation and quantization-aware training both go through
`fit`.

Every step depends on nothing but the weights, the optimizer state and the step's number, so a run
that was killed and resumed from its checkpoint ends with the same bits on CPU as one that was not.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from compress.engine.errors import TrainingError
from compress.engine.progress import SILENT, Progress
from compress.engine.seeds import manual_seed

CHECKPOINT = "checkpoint.safetensors"
BAD_BATCH = "bad_batch.safetensors"


@dataclass(frozen=True)
class FitPlan:
    """How long and how fast.

    Attributes:
        steps: number of optimizer updates.
        lr: peak learning rate; cosine to zero after the warm-up.
        warmup: share of the steps with linearly rising rate.
        weight_decay: AdamW's, on tensors with two or more axes only.
        grad_clip: limit of the gradient's global L2 norm.
        ema: decay of an exponential moving average of the weights that replaces them at the end; 0
            = off.
        checkpoint_every: updates between checkpoints.
        head_lr: learning rate of the parameters named in ``head``; None = ``lr``.
        head: name prefixes of the head's parameters.
        no_decay: name prefixes of parameters without weight decay.
    """

    steps: int
    lr: float
    warmup: float = 0.05
    weight_decay: float = 0.05
    grad_clip: float = 1.0
    ema: float = 0.0
    checkpoint_every: int = 200
    head_lr: float | None = None
    head: tuple[str, ...] = ()
    no_decay: tuple[str, ...] = ()

    def rate(self, step: int) -> float:
        """The multiplier of the learning rate at ``step``: linear warm-up, then cosine to zero."""
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, self.steps - rising)))


@dataclass
class StepResult:
    """One evaluated batch: ``loss`` (a scalar with gradient), numbers to log, seconds waited for
    data, the tensors to keep should the loss be NaN, and how the gradients come about where
    ``loss.backward()`` is not it.
    """

    loss: Tensor
    values: dict[str, float] = field(default_factory=dict)
    wait_s: float = 0.0
    batch: dict[str, Tensor] = field(default_factory=dict)
    backward: Callable[[], None] | None = None


def fit(
    model: nn.Module,
    loss_at: Callable[[int], StepResult],
    plan: FitPlan,
    *,
    folder: Path | None,
    name: str,
    seed: int,
    progress: Progress = SILENT,
    after_step: Callable[[int], None] | None = None,
    log_points: int = 60,
) -> list[dict[str, float]]:
    """Trains ``model`` in place for ``plan.steps`` updates of AdamW.

    Args:
        model: trained in place; the caller has put it into training mode.
        loss_at: ``step -> StepResult``; must depend on the step's number and the model only.
        folder: where checkpoints are kept (resumed from if present); None = no checkpoints.
        name: the task's name in the progress bar and in seeds.
        after_step: called after update ``step``, e.g. to freeze observers. On resume it is called
            again for the last finished step, so it must be a function of the step's number.
        log_points: how many entries the returned history has at most.

    Returns:
        The history: one ``{"step", "loss", "lr", ...}`` per logged interval (means over the
            interval).

    Raises:
        TrainingError: the loss is NaN or infinite; the batch is saved and named.
    """
    optimizer = torch.optim.AdamW(_groups(model, plan))
    state = _State(model, optimizer, plan.ema)
    done, history = state.load(folder)
    if done and after_step:
        after_step(done - 1)
    every = max(1, plan.steps // log_points)
    sums: dict[str, float] = dict(history.pop()) if history and "open" in history[-1] else {}
    with progress.task(name, plan.steps, "step", done) as task:
        for step in range(done, plan.steps):
            manual_seed(seed, name, step)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * plan.rate(step)
            result = loss_at(step)
            if not torch.isfinite(result.loss):
                raise _stopped(result, step, folder)
            optimizer.zero_grad(set_to_none=True)
            (result.backward or result.loss.backward)()
            nn.utils.clip_grad_norm_(model.parameters(), plan.grad_clip)
            optimizer.step()
            state.average(step)
            if after_step:
                after_step(step)
            loss = float(result.loss.detach())
            for key, value in {"loss": loss, **result.values}.items():
                sums[key] = sums.get(key, 0.0) + value
            sums["open"] = sums.get("open", 0.0) + 1
            if (step + 1) % every == 0 or step + 1 == plan.steps:
                count = sums.pop("open")
                rate = plan.lr * plan.rate(step)
                history.append(
                    {"step": step + 1, "lr": rate, **{k: v / count for k, v in sums.items()}}
                )
                sums = {}
            if folder is not None and (
                (step + 1) % plan.checkpoint_every == 0 and step + 1 < plan.steps
            ):
                state.save(folder, step + 1, [*history, sums] if sums else history)
            task.advance(1, wait_s=result.wait_s, loss=loss)
    state.finish()
    return history


def autocast_pays(model: nn.Module, example: Tensor, repeats: int = 3) -> bool:
    """Measures whether a forward and backward pass in bfloat16 autocast is faster than in float32
    on this CPU.
    """

    def seconds(enabled: bool) -> float:
        times = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            with torch.autocast(example.device.type, torch.bfloat16, enabled=enabled):
                out = model(example)
            out.float().square().mean().backward()
            times.append(time.perf_counter() - start)
        model.zero_grad(set_to_none=True)
        return min(times[1:])

    kept = {key: value.clone() for key, value in model.state_dict().items()}
    faster = seconds(True) < 0.9 * seconds(False)
    model.load_state_dict(kept)  # the passes moved batch-norm statistics
    return faster


def _groups(model: nn.Module, plan: FitPlan) -> list[dict[str, object]]:
    """Parameter groups: trunk or head rate, with or without weight decay; each remembers its peak
    rate.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_head = any(parameter_name.startswith(prefix) for prefix in plan.head)
            peak = plan.head_lr if is_head and plan.head_lr is not None else plan.lr
            decays = parameter.ndim > 1 and not parameter_name.startswith(plan.no_decay)
            groups.setdefault((peak, plan.weight_decay if decays else 0.0), []).append(parameter)
    return [
        {"params": ps, "lr": peak, "peak": peak, "weight_decay": decay}
        for (peak, decay), ps in groups.items()
    ]


class _State:
    """Weights, optimizer and average, to and from one safetensors file."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, decay: float) -> None:
        self.model, self.optimizer, self.decay = model, optimizer, decay
        self.averaged = [p.detach().clone() for p in self._parameters()] if decay else []

    def _parameters(self) -> Iterable[nn.Parameter]:
        return (p for group in self.optimizer.param_groups for p in group["params"])

    def average(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for mean, parameter in zip(self.averaged, self._parameters(), strict=False):
            mean.lerp_(parameter.detach(), 1 - decay)

    def finish(self) -> None:
        for mean, parameter in zip(self.averaged, self._parameters(), strict=False):
            parameter.data.copy_(mean)

    def save(self, folder: Path, step: int, history: list[dict[str, float]]) -> None:
        from safetensors.torch import save_file

        tensors = {
            f"model.{key}": value.detach().clone() for key, value in self.model.state_dict().items()
        }
        for index, parameter in enumerate(self._parameters()):
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value).clone()
        for index, mean in enumerate(self.averaged):
            tensors[f"average.{index}"] = mean.clone()
        temporary = folder / f".{CHECKPOINT}.tmp"
        contiguous = {key: value.contiguous() for key, value in tensors.items()}
        save_file(contiguous, temporary, {"step": str(step), "history": json.dumps(history)})
        os.replace(temporary, folder / CHECKPOINT)

    def load(self, folder: Path | None) -> tuple[int, list[dict[str, float]]]:
        if folder is None or not (folder / CHECKPOINT).exists():
            return 0, []
        from safetensors import safe_open

        with safe_open(folder / CHECKPOINT, "pt") as file:
            meta = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        own = self.model.state_dict()
        with torch.no_grad():
            for key, value in own.items():
                value.copy_(tensors[f"model.{key}"])
        for index, parameter in enumerate(self._parameters()):
            prefix = f"optimizer.{index}."
            self.optimizer.state[parameter] = {
                name: value if name == "step" else value.to(parameter.device)
                for name, value in (
                    (k.removeprefix(prefix), v) for k, v in tensors.items() if k.startswith(prefix)
                )
            }
        for index, mean in enumerate(self.averaged):
            mean.copy_(tensors[f"average.{index}"])
        return int(meta["step"]), json.loads(meta["history"])


def _stopped(result: StepResult, step: int, folder: Path | None) -> TrainingError:
    where = "nowhere (no work folder)"
    if folder is not None:
        from safetensors.torch import save_file

        path = folder / BAD_BATCH
        save_file(
            {key: value.detach().contiguous() for key, value in result.batch.items()},
            path,
            {"step": str(step)},
        )
        where = str(path)
    return TrainingError(
        f"the loss is not finite at step {step}",
        got=f"{float(result.loss.detach())}; {result.values}",
        expected="a finite number",
        remedy=f"the batch was saved to {where}; try a lower learning rate (--set distill.lr=...)",
    )
