"""The training loop of the product: `fit` trains students, in float and through int8 rounding.

A step depends only on the weights, the optimizer state and the step's number, so a run that is
killed and resumed from its checkpoint ends with the same bits on CPU as an uninterrupted one.

Under torchrun each rank computes the loss of its own rows; numbers, gradients and the statistics of
batch norms are those of the whole batch, so all ranks hold the same weights after every step.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from compress.distill.batch_norm import synced_batch_norm
from compress.engine import ranks
from compress.engine.errors import TrainingError
from compress.engine.partial import kept
from compress.engine.progress import SILENT, Progress
from compress.engine.seeds import manual_seed
from runtime.files.strict_json import to_text

CHECKPOINT = "checkpoint.safetensors"
BAD_BATCH = "bad_batch.safetensors"
# that batch norms of averaged weights are fitted on; 20 of 128 images leave their means a standard
# error of 2 % of a deviation even where a map is one pixel [I]
NORM_BATCHES = 20
History = list[dict[str, float]]  # one row per logged interval
BETA1, BETA2 = 0.9, 0.999  # AdamW's own


@dataclass(frozen=True)
class FitPlan:
    """How long and how fast.

    A first phase of ``before`` updates has its own optimizer state and its own rate, a cosine from
    ``before_lr`` to zero for all parameters; then everything starts anew.
    """

    steps: int  # optimizer updates, those ``before`` not counted
    lr: float  # peak learning rate; cosine to zero after the warm-up
    warmup: float = 0.05  # share of the steps with linearly rising rate
    weight_decay: float = 0.05  # on tensors with two or more axes only; of "sgd" in the gradient
    grad_clip: float = 1.0  # limit of the gradient's global L2 norm
    # decay of the moving average that replaces the weights at the end, where batch norms are fitted
    # to it; 0 = off
    ema: float = 0.0
    checkpoint_every: int = 200  # updates between checkpoints
    head_lr: float | None = None  # learning rate of the head's parameters; None = ``lr``
    head: tuple[str, ...] = ()  # name prefixes of the head's parameters
    no_decay: tuple[str, ...] = ()  # name prefixes of parameters without weight decay
    optimizer: str = "adamw"  # a row of ``OPTIMIZERS``
    momentum: float = 0.9  # of "sgd"
    beta2_start: float | None = None  # Adam's second decay rises from it to ``BETA2``; None: fixed
    before: int = 0  # updates of a first phase
    before_lr: float = 0.0  # its peak learning rate

    @property
    def total(self) -> int:
        """Updates of both phases."""
        return self.before + self.steps

    def beta2(self, step: int) -> float:
        """Adam's second decay at ``step``: half a cosine from ``beta2_start`` to ``BETA2``."""
        step -= self.before
        if self.beta2_start is None or step < 0:
            return BETA2
        left = 0.5 * (1 + math.cos(math.pi * step / max(1, self.steps - 1)))
        return BETA2 - (BETA2 - self.beta2_start) * left

    def peak(self, step: int, peak: float) -> float:
        """The largest rate of the phase of ``step``, for parameters of this ``peak`` rate."""
        return peak if step >= self.before else self.before_lr

    def rate(self, step: int) -> float:
        """The multiplier of the learning rate at ``step``: linear warm-up, then cosine to zero."""
        step -= self.before
        if step < 0:
            return 0.5 * (1 + math.cos(math.pi * (step + self.before) / self.before))
        rising = max(1, round(self.warmup * self.steps))
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, self.steps - rising)))


Groups = list[dict[str, Any]]
#: ``distill.optimizer``; rates and decays are the groups' own
OPTIMIZERS: dict[str, Callable[[Groups, FitPlan], torch.optim.Optimizer]] = {
    "adamw": lambda groups, plan: torch.optim.AdamW(groups),
    "sgd": lambda groups, plan: torch.optim.SGD(groups, momentum=plan.momentum),
}


@dataclass
class StepResult:
    """One evaluated batch."""

    loss: Tensor  # a scalar with gradient
    values: dict[str, float] = field(default_factory=dict)  # numbers to log
    wait_s: float = 0.0  # seconds spent waiting for data
    batch: dict[str, Tensor] = field(default_factory=dict)  # saved if the loss is NaN
    backward: Callable[[], None] | None = None  # sets gradients in place of ``loss.backward()``


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
    forward_at: Callable[[int], object] | None = None,
    log_points: int = 60,
) -> History:
    """Trains ``model`` in place for ``plan.total`` updates.

    Args:
        loss_at: ``step -> StepResult``, a function of the step's number and the model alone.
        forward_at: a forward pass in training mode on the batch of a step, for batch norms of
            averaged weights, which see ``NORM_BATCHES`` further steps; None = ``loss_at``.
        folder: holds the checkpoint, resumed from if present; None = no checkpoints.
        name: the task's name in the progress bar and in seeds.
        after_step: called after update ``step``, e.g. to freeze observers; on resume again for the
            last finished step, so it must be a function of the step's number.
        log_points: rows of the returned history, at most.

    Returns ``{"step", "loss", "lr", ...}`` per logged interval, means over the interval.
    Raises TrainingError if the loss is not finite; the batch is saved and named.
    A rank that follows keeps no files, and leaves with ``ranks.Parted`` at the end.
    """
    folder = folder if ranks.rank() == 0 else None
    optimizer = OPTIMIZERS[plan.optimizer](_groups(model, plan), plan)
    state = _State(model, optimizer, plan.ema)
    done, history = state.load(folder)
    done = state.share(done)
    if done and after_step:
        after_step(done - 1)
    every = max(1, plan.total // log_points)
    sums: dict[str, float] = dict(history.pop()) if history and "open" in history[-1] else {}
    with progress.task(name, plan.total, "step", done) as task:
        for step in range(done, plan.total):
            if step == plan.before:
                state.restart()
            manual_seed(seed, name, step)
            ranks.part_randomness()
            for group in optimizer.param_groups:
                group["lr"] = plan.peak(step, group["peak"]) * plan.rate(step)
                if "betas" in group:  # Adam's
                    group["betas"] = (BETA1, plan.beta2(step))
            with synced_batch_norm():
                result = loss_at(step)
            numbers = ranks.mean({"loss": float(result.loss.detach()), **result.values})
            if not math.isfinite(numbers["loss"]):
                raise _not_finite(result.batch, numbers, step, folder)
            optimizer.zero_grad(set_to_none=True)
            (result.backward or result.loss.backward)()
            ranks.average_gradients(model.parameters())
            nn.utils.clip_grad_norm_(model.parameters(), plan.grad_clip)
            optimizer.step()
            state.average(step - plan.before)
            if after_step:
                after_step(step)
            for key, value in {**numbers, "open": 1.0}.items():
                sums[key] = sums.get(key, 0.0) + value
            if (step + 1) % every == 0 or step + 1 == plan.total:
                count = sums.pop("open")
                means = {key: value / count for key, value in sums.items()}
                rate = plan.peak(step, plan.lr) * plan.rate(step)
                history.append({"step": step + 1, "lr": rate, **means})
                sums = {}
            if folder and (step + 1) % plan.checkpoint_every == 0 and step + 1 < plan.total:
                state.save(folder, step + 1, [*history, sums] if sums else history)
            task.advance(1, wait_s=result.wait_s, loss=numbers["loss"])
    if plan.ema:
        state.finish()
        steps = range(plan.total, plan.total + NORM_BATCHES)
        _fit_norms(model, forward_at or loss_at, steps, name, seed)
    ranks.part()
    return history


def _fit_norms(
    model: nn.Module, forward_at: Callable[[int], object], steps: range, name: str, seed: int
) -> None:
    """Gives batch norms the statistics of the activations that the weights have now.

    Those that they gathered are of the weights before each update. Their average would not fit the
    averaged weights either: a variance is not linear in weights. So they are measured, on the
    batches that training would draw next: means over batches of mean and of unbiased variance.
    Frozen batch norms stay as they are.
    """
    norms = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        if module.training and module.track_running_stats
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
    for step in steps:
        manual_seed(seed, name, step)
        ranks.part_randomness()
        with synced_batch_norm():
            forward_at(step)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def autocast_pays(model: nn.Module, example: Tensor, repeats: int = 3) -> bool:
    """Whether a forward and backward pass is faster in bfloat16 autocast than in float32 here."""

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


def _groups(model: nn.Module, plan: FitPlan) -> Groups:
    """Parameter groups by peak learning rate and weight decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_head = name.startswith(plan.head)
            peak = plan.head_lr if is_head and plan.head_lr is not None else plan.lr
            decays = parameter.ndim > 1 and not name.startswith(plan.no_decay)
            groups.setdefault((peak, plan.weight_decay if decays else 0.0), []).append(parameter)
    return [
        {"params": parameters, "lr": peak, "peak": peak, "weight_decay": decay}
        for (peak, decay), parameters in groups.items()
    ]


class _State:
    """Weights, optimizer and moving average, to and from one safetensors file."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, decay: float) -> None:
        self.model = model
        self.optimizer = optimizer
        self.decay = decay
        self.averaged = [p.detach().clone() for p in self._parameters()] if decay else []

    def _parameters(self) -> Iterable[nn.Parameter]:
        return (p for group in self.optimizer.param_groups for p in group["params"])

    def restart(self) -> None:
        """Forgets the moments and the average: what follows is a training of its own."""
        self.optimizer.state.clear()
        for mean, parameter in zip(self.averaged, self._parameters(), strict=False):
            mean.copy_(parameter.detach())

    def average(self, step: int) -> None:
        if step < 0:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        for mean, parameter in zip(self.averaged, self._parameters(), strict=False):
            mean.lerp_(parameter.detach(), 1 - decay)

    def finish(self) -> None:
        for mean, parameter in zip(self.averaged, self._parameters(), strict=False):
            parameter.data.copy_(mean)

    def tensors(self) -> dict[str, Tensor]:
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        for index, parameter in enumerate(self._parameters()):
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
        tensors |= {f"average.{index}": mean for index, mean in enumerate(self.averaged)}
        # clones: safetensors refuses tensors that share memory
        return {key: value.detach().clone().contiguous() for key, value in tensors.items()}

    def save(self, folder: Path, step: int, history: History) -> None:
        copies = self.tensors()
        with kept(folder / CHECKPOINT) as temporary:
            save_file(copies, temporary, {"step": str(step), "history": to_text(history)})

    def load(self, folder: Path | None) -> tuple[int, History]:
        if folder is None or not (folder / CHECKPOINT).exists():
            return 0, []
        with safe_open(folder / CHECKPOINT, "pt") as file:
            meta = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.restore(tensors)
        return int(meta["step"]), json.loads(meta["history"])

    def share(self, done: int) -> int:
        """Gives all ranks the state of rank 0, and the number of its finished steps."""
        if ranks.count() > 1:
            both = ranks.first(lambda: {"done": torch.tensor(done), **self.tensors()})
            done = int(both.pop("done"))
            self.restore(both)
        return done

    def restore(self, tensors: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for key, value in self.model.state_dict().items():
                value.copy_(tensors[f"model.{key}"])
        for index, parameter in enumerate(self._parameters()):
            prefix = f"optimizer.{index}."
            own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            moved = {k: v if k == "step" else v.to(parameter.device) for k, v in own.items()}
            self.optimizer.state[parameter] = moved
        for index, mean in enumerate(self.averaged):
            mean.copy_(tensors[f"average.{index}"])


def _not_finite(
    batch: dict[str, Tensor], numbers: dict[str, float], step: int, folder: Path | None
) -> TrainingError:
    saved = folder / BAD_BATCH if folder else "nowhere (no work folder)"
    tensors = {key: ranks.whole(value.detach().contiguous()) for key, value in batch.items()}
    ranks.part()
    if isinstance(saved, Path):
        with kept(saved) as temporary:
            save_file(tensors, temporary, {"step": str(step)})
    return TrainingError(
        f"the loss is not finite at step {step}",
        got=f"{numbers.pop('loss')}; {numbers}",
        remedy=f"the batch was saved to {saved}; try a lower learning rate (--set distill.lr=...)",
    )
