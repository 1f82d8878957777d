"""Meta knowledge distillation over style groups (Wei et al., ICLR 2025, section 3.3).

As in MLDG (Li et al. 2018) a step on one group must also help on another:

    θ_c = θ − α ∇L(X_tr; θ)          min over θ of  L(X_tr; θ) + L(X_te; θ_c)

with X_tr and X_te of disjoint styles. To first order in α the gradient is ``g_tr + g_te −
α ∇(g_tr · g_te)``: the update prefers directions that both groups agree on.

    mode         gradient                          alignment term                    extra cost
    exact        g_tr(θ) + (I − α H_tr) g_te(θ_c)  − α (H_tr g_te + H_te g_tr)       an H·v product
    first_order  g_tr(θ) + g_te(θ_c)               − α H_te g_tr (half, on average)  a copy of θ
    reptile      (θ − θ_2) / α, two SGD steps      as first_order                    a copy of θ
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from compress.distill.batches import Batch
from compress.distill.loop import StepResult
from compress.distill.objectives import Objective
from compress.distill.students import Outputs
from compress.engine.config import MetaSettings
from compress.engine.errors import ConfigError

Weights = dict[str, Tensor]
Gradients = dict[str, Tensor | None]  # None where a weight takes no part, as after a plain backward
Loss = Callable[[Mapping[str, Tensor]], Tensor]


def exact(train: Loss, test: Loss, weights: Weights, alpha: float) -> tuple[Gradients, float]:
    """The gradient of ``train(θ) + test(θ − α ∇train(θ))`` through the inner step, and that sum."""
    loss = train(weights)
    inner = _gradient(loss, weights, create_graph=True)
    total = loss + test(_moved(weights, inner, alpha))
    return _gradient(total, weights), float(total.detach())


def first_order(train: Loss, test: Loss, weights: Weights, alpha: float) -> tuple[Gradients, float]:
    """``g_tr(θ) + g_te(θ − α g_tr)``, the inner step taken as a constant shift."""
    loss = train(weights)
    inner = _gradient(loss, weights)
    moved = _leaves(_moved(weights, inner, alpha))
    moved_loss = test(moved)
    outer = _gradient(moved_loss, moved)
    summed = {name: _sum(inner[name], outer[name]) for name in weights}
    return summed, float((loss + moved_loss).detach())


def reptile(train: Loss, test: Loss, weights: Weights, alpha: float) -> tuple[Gradients, float]:
    """``(θ − θ_2) / α`` after one SGD step on each group, as if the pair were one long gradient."""
    if alpha <= 0:
        expected = "distill.meta.inner_lr > 0"
        raise ConfigError("reptile divides by its inner rate", got=alpha, expected=expected)
    loss = train(weights)
    inner = _gradient(loss, weights)
    once = _leaves(_moved(weights, inner, alpha))
    moved_loss = test(once)
    outer = _gradient(moved_loss, once)
    twice = _moved(once, outer, alpha)
    out: Gradients = {}
    for name, start in weights.items():
        unused = inner[name] is None and outer[name] is None
        out[name] = None if unused else (start.detach() - twice[name].detach()) / alpha
    return out, float((loss + moved_loss).detach())


def _gradient(loss: Tensor, weights: Weights, *, create_graph: bool = False) -> Gradients:
    values = list(weights.values())
    gradients = torch.autograd.grad(loss, values, create_graph=create_graph, allow_unused=True)
    return dict(zip(weights, gradients, strict=True))


def _moved(weights: Weights, gradients: Gradients, alpha: float) -> Weights:
    """One SGD step."""
    steps = ((name, value, gradients[name]) for name, value in weights.items())
    return {name: value if step is None else value - alpha * step for name, value, step in steps}


def _leaves(weights: Weights) -> Weights:
    return {name: value.detach().requires_grad_() for name, value in weights.items()}


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


MODES: dict[str, Callable[[Loss, Loss, Weights, float], tuple[Gradients, float]]] = {
    "exact": exact,
    "first_order": first_order,
    "reptile": reptile,
}


class MetaStep:
    """Computes loss and gradients of one meta step.

    Batch norm: the pass at θ sees both groups and alone updates running statistics, as a plain step
    does; the pass at θ_c normalizes with its own half. With α = 0 the gradient therefore equals
    plain distillation's only if batch norm is frozen or absent.

    Args:
        model: ``images -> Outputs``; its ``objective`` gives both losses.
        rate: ``step -> learning rate``, the inner rate unless ``inner_lr`` is set.
    """

    def __init__(
        self, model: nn.Module, settings: MetaSettings, rate: Callable[[int], float]
    ) -> None:
        self.model = model
        self.settings = settings
        self.rate = rate

    def __call__(self, step: int, batch: Batch) -> StepResult:
        weights: Weights = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        buffers = {name: value.clone() for name, value in self.model.named_buffers()}
        train = batch.group
        test = ~batch.group

        def at_theta(values: Mapping[str, Tensor]) -> Tensor:
            out = functional_call(self.model, dict(values), (batch.images,))
            return _loss(self.model, values, out, batch, train)

        def at_moved(values: Mapping[str, Tensor]) -> Tensor:
            part = batch.part(test)
            out = functional_call(self.model, {**values, **buffers}, (part.images,))
            return _loss(self.model, values, out, part, torch.ones_like(part.real))

        alpha = self.settings.inner_lr if self.settings.inner_lr is not None else self.rate(step)
        gradients, loss = MODES[self.settings.mode](at_theta, at_moved, weights, alpha)

        def backward() -> None:
            for name, parameter in weights.items():
                gradient = gradients[name]
                parameter.grad = None if gradient is None else gradient.detach()

        values = {"meta_alpha": alpha}
        return StepResult(torch.tensor(loss), values, batch.wait_s, batch.tensors(), backward)


def _loss(
    model: nn.Module, values: Mapping[str, Tensor], out: Outputs, batch: Batch, rows: Tensor
) -> Tensor:
    """The objective under the given weights, over some rows of a batch."""
    objective = model.get_submodule("objective")
    assert isinstance(objective, Objective)
    prefix = "objective."
    own = {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
    features = None if out.features is None else out.features[rows]
    part = Outputs(out.pooled[rows], out.logits[rows], features)
    loss: Tensor = functional_call(objective, own, (part, batch.part(rows)))[0]
    return loss
