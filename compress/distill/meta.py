"""Meta knowledge distillation over style groups (Wei et al., ICLR 2025, section 3.3).

As in MLDG (Li et al. 2018) a step on one group must also help on another:

    θ_c = θ − α ∇L(X_tr; θ)          min over θ of  L(X_tr; θ) + L(X_te; θ_c)

with X_tr and X_te of disjoint styles. To first order in α the gradient is ``g_tr + g_te −
α ∇(g_tr · g_te)``: the update prefers directions that both groups agree on.

    mode         gradient                          alignment term                    extra cost
    exact        g_tr(θ) + (I − α H_tr) g_te(θ_c)  − α (H_tr g_te + H_te g_tr)       an H·v product
    first_order  g_tr(θ) + g_te(θ_c)               − α H_te g_tr (half, on average)  a copy of θ
    reptile      (θ − θ_2) / α, two SGD steps      as first_order                    a copy of θ

The inner step is plain SGD, and the outer optimizer's clipping does not reach it: at a rate that
suits the outer one, a large gradient throws θ_c where the loss on X_te is of no use. So its
gradient has ``distill.meta.inner_clip`` for its largest norm; below it nothing changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from compress.distill.batches import Batch
from compress.distill.loop import StepResult
from compress.distill.students import Outputs
from compress.engine.config import MetaSettings
from compress.engine.errors import ConfigError

TINY = 1e-12  # of a norm: a gradient of zeros stays
Weights = dict[str, Tensor]
Gradients = dict[str, Tensor | None]  # None where a weight takes no part, as after a plain backward
Loss = Callable[[Mapping[str, Tensor]], Tensor]


def exact(
    train: Loss, test: Loss, weights: Weights, alpha: float, clip: float = math.inf
) -> tuple[Gradients, float]:
    """The gradient of ``train(θ) + test(θ − α ∇train(θ))`` through the inner step, and that sum.

    Args:
        clip: the largest norm of the inner step's gradient; that of the outer one is not clipped.
    """
    loss = train(weights)
    inner = _clipped(_gradient(loss, weights, create_graph=True), clip)
    total = loss + test(_moved(weights, inner, alpha))
    return _gradient(total, weights), float(total.detach())


def first_order(
    train: Loss, test: Loss, weights: Weights, alpha: float, clip: float = math.inf
) -> tuple[Gradients, float]:
    """``g_tr(θ) + g_te(θ − α g_tr)``, the inner step taken as a constant shift."""
    inner, _, outer, loss = _two_steps(train, test, weights, alpha, clip)
    summed = dict(inner)
    for name, gradient in outer.items():
        first = inner[name]
        if gradient is not None:
            summed[name] = gradient if first is None else first + gradient
    return summed, loss


def require_inner_rate(alpha: float) -> None:
    """Raises ConfigError for an inner rate that reptile cannot divide by."""
    if alpha <= 0:
        remedy = "use distill.meta.inner_lr > 0"
        raise ConfigError("reptile divides by its inner rate", got=alpha, remedy=remedy)


def reptile(
    train: Loss, test: Loss, weights: Weights, alpha: float, clip: float = math.inf
) -> tuple[Gradients, float]:
    """``(θ − θ_2) / α`` after one SGD step on each group, as if the pair were one long gradient.

    Only the first step is clipped, and its part of the gradient too.
    """
    require_inner_rate(alpha)
    inner, once, outer, loss = _two_steps(train, test, weights, alpha, clip)
    twice = _moved(once, outer, alpha)
    out: Gradients = {}
    for name, start in weights.items():
        unused = inner[name] is None and outer[name] is None
        out[name] = None if unused else (start.detach() - twice[name].detach()) / alpha
    return out, loss


def _two_steps(
    train: Loss, test: Loss, weights: Weights, alpha: float, clip: float
) -> tuple[Gradients, Weights, Gradients, float]:
    """The gradient at θ, θ_c as leaves, the gradient there, and the sum of both losses."""
    loss = train(weights)
    inner = _gradient(loss, weights)
    moved = _moved(weights, _clipped(inner, clip), alpha)
    moved = {name: value.detach().requires_grad_() for name, value in moved.items()}
    moved_loss = test(moved)
    return inner, moved, _gradient(moved_loss, moved), float((loss + moved_loss).detach())


def _gradient(loss: Tensor, weights: Weights, *, create_graph: bool = False) -> Gradients:
    values = list(weights.values())
    gradients = torch.autograd.grad(loss, values, create_graph=create_graph, allow_unused=True)
    return dict(zip(weights, gradients, strict=True))


def _clipped(gradients: Gradients, clip: float) -> Gradients:
    """The gradients scaled to a norm of at most ``clip`` over all of them."""
    if clip == math.inf:
        return gradients
    given = [value for value in gradients.values() if value is not None]
    norm = torch.stack([value.square().sum() for value in given]).sum().sqrt()
    share = (clip / norm.clamp(min=TINY)).clamp(max=1)
    return {name: None if one is None else share * one for name, one in gradients.items()}


def _moved(weights: Weights, gradients: Gradients, alpha: float) -> Weights:
    """One SGD step."""
    steps = ((name, value, gradients[name]) for name, value in weights.items())
    return {name: value if step is None else value - alpha * step for name, value, step in steps}


MODES = {"exact": exact, "first_order": first_order, "reptile": reptile}


@dataclass(frozen=True, eq=False)
class MetaStep:
    """Computes loss and gradients of one meta step.

    Batch norm: the pass at θ sees both groups and alone updates running statistics, as a plain step
    does; the pass at θ_c normalizes with its own half. With α = 0 the gradient therefore equals
    plain distillation's only if batch norm is frozen or absent.
    """

    model: nn.Module  # ``images, real -> Outputs``; its ``objective`` gives both losses
    settings: MetaSettings
    rate: Callable[[int], float]  # step -> learning rate, the inner rate unless ``inner_lr`` is set

    def __call__(self, step: int, batch: Batch) -> StepResult:
        weights: Weights = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        buffers = {name: value.clone() for name, value in self.model.named_buffers()}
        test = batch.part(~batch.group)
        alpha = self.settings.inner_lr if self.settings.inner_lr is not None else self.rate(step)
        gradients, loss = MODES[self.settings.mode](
            lambda values: self._loss(values, batch, batch.group),
            lambda values: self._loss({**values, **buffers}, test, torch.ones_like(test.real)),
            weights,
            alpha,
            self.settings.inner_clip,
        )

        def backward() -> None:
            for name, parameter in weights.items():
                gradient = gradients[name]
                parameter.grad = None if gradient is None else gradient.detach()

        values = {"meta_alpha": alpha}
        return StepResult(torch.tensor(loss), values, batch.wait_s, batch.tensors(), backward)

    def _loss(self, values: Mapping[str, Tensor], batch: Batch, rows: Tensor) -> Tensor:
        """The objective under the given weights, over some rows of a batch."""
        out: Outputs = functional_call(self.model, dict(values), (batch.images, batch.real))
        prefix = "objective."
        own = {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
        objective = self.model.get_submodule("objective")
        loss: Tensor = functional_call(objective, own, (out.at(rows), batch.part(rows)))[0]
        return loss
