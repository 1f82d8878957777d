"""Meta knowledge distillation over style groups (Wei et al., ICLR 2025, section 3.3; MLDG, Li et
al. 2018).

    θ_c = θ − α ∇L(X_tr; θ)          min over θ of  L(X_tr; θ) + L(X_te; θ_c)

with X_tr and X_te of disjoint styles. Expanding, the gradient is ``g_tr + g_te − α ∇(g_tr · g_te) +
O(α²)``: the update prefers directions that both style groups agree on.

    mode          gradient                                     alignment term
                  cost
    exact         g_tr(θ) + (I − α H_tr) g_te(θ_c)             − α (H_tr g_te + H_te g_tr)       a
                  Hessian-vector product more
    first_order   g_tr(θ) + g_te(θ_c)                          − α H_te g_tr (half, averaged)    one
                  copy of the weights
    reptile       (θ − θ_2) / α after two SGD steps            as first_order                    one
                  copy of the weights
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from compress.distill.batches import Batch
from compress.distill.loop import StepResult
from compress.distill.objectives import Objective, Outputs
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
    return {name: _sum(inner[name], outer[name]) for name in weights}, float(
        (loss + moved_loss).detach()
    )


def reptile(train: Loss, test: Loss, weights: Weights, alpha: float) -> tuple[Gradients, float]:
    """``(θ − θ_2) / α`` after one SGD step on each group, as if the pair were one long gradient."""
    if alpha <= 0:
        raise ConfigError(
            "reptile divides by its inner rate", got=alpha, expected="distill.meta.inner_lr > 0"
        )
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
    found = torch.autograd.grad(
        loss, list(weights.values()), create_graph=create_graph, allow_unused=True
    )
    return dict(zip(weights, found, strict=True))


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
    """Makes the `StepResult` of one meta step.

    Batch norm: the forward pass at θ is over both groups together and is the only one that updates
        running statistics,
    exactly as a plain step would; the pass at θ_c normalizes with its own half and leaves them
    alone. With α = 0 the gradient is therefore plain distillation's only where batch norm is frozen
    or absent.

    Args:
        model: called with images, gives `Outputs`; its ``objective`` is what both losses are.
        rate: ``step -> learning rate``, the inner rate where none is set.
    """

    def __init__(
        self, model: nn.Module, settings: MetaSettings, rate: Callable[[int], float]
    ) -> None:
        self.model, self.settings, self.rate = model, settings, rate

    def __call__(self, step: int, batch: Batch) -> StepResult:
        weights: Weights = {
            name: value for name, value in self.model.named_parameters() if value.requires_grad
        }
        buffers = {name: value.clone() for name, value in self.model.named_buffers()}
        train, test = batch.group, ~batch.group

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
                found = gradients[name]
                parameter.grad = None if found is None else found.detach()

        return StepResult(
            torch.tensor(loss), {"meta_alpha": alpha}, batch.wait_s, batch.tensors(), backward
        )


def _loss(
    model: nn.Module, values: Mapping[str, Tensor], out: Outputs, batch: Batch, rows: Tensor
) -> Tensor:
    """The objective, with the given weights, over some rows of a batch."""
    objective = model.get_submodule("objective")
    assert isinstance(objective, Objective)
    own = {
        name.removeprefix("objective."): v
        for name, v in values.items()
        if name.startswith("objective.")
    }
    features = None if out.features is None else out.features[rows]
    chosen = Outputs(out.pooled[rows], out.logits[rows], features)
    loss: Tensor = functional_call(objective, own, (chosen, batch.part(rows)))[0]
    return loss
