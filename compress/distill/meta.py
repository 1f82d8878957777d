"""Meta knowledge distillation over style groups (Wei et al., ICLR 2025, section 3.3; MLDG, Li et al. 2018).

    θ_c = θ − α ∇L(X_tr; θ)          min over θ of  L(X_tr; θ) + L(X_te; θ_c)

with X_tr and X_te of disjoint styles. Expanding, the gradient is ``g_tr + g_te − α ∇(g_tr · g_te) + O(α²)``: the update
prefers directions that both style groups agree on.

    mode          gradient                                     alignment term                    cost
    exact         g_tr(θ) + (I − α H_tr) g_te(θ_c)             − α (H_tr g_te + H_te g_tr)       a Hessian-vector product more
    first_order   g_tr(θ) + g_te(θ_c)                          − α H_te g_tr (half, averaged)    one copy of the weights
    reptile       (θ − θ_2) / α after two SGD steps            as first_order                    one copy of the weights
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from compress.config import MetaSettings
from compress.distill.batches import Batch
from compress.distill.loop import StepResult
from compress.distill.objectives import Objective, Outputs
from compress.errors import ConfigError

Weights = dict[str, Tensor]
Loss = Callable[[Mapping[str, Tensor]], Tensor]


def exact(train: Loss, test: Loss, weights: Weights, alpha: float) -> tuple[Weights, float]:
    """The gradient of ``train(θ) + test(θ − α ∇train(θ))`` through the inner step, and that sum."""
    loss = train(weights)
    inner = torch.autograd.grad(loss, list(weights.values()), create_graph=True, materialize_grads=True)
    moved = {name: value - alpha * g for (name, value), g in zip(weights.items(), inner, strict=True)}
    total = loss + test(moved)
    outer = torch.autograd.grad(total, list(weights.values()), materialize_grads=True)
    return dict(zip(weights, outer, strict=True)), float(total.detach())


def first_order(train: Loss, test: Loss, weights: Weights, alpha: float) -> tuple[Weights, float]:
    """``g_tr(θ) + g_te(θ − α g_tr)``, the inner step taken as a constant shift."""
    inner, loss = _gradient(train, weights)
    moved = {name: (value - alpha * inner[name]).detach().requires_grad_() for name, value in weights.items()}
    outer, moved_loss = _gradient(test, moved)
    return {name: inner[name] + outer[name] for name in weights}, loss + moved_loss


def reptile(train: Loss, test: Loss, weights: Weights, alpha: float) -> tuple[Weights, float]:
    """``(θ − θ_2) / α`` after one SGD step on each group, as if the pair were one long gradient."""
    if alpha <= 0:
        raise ConfigError("reptile divides by its inner rate", got=alpha, expected="distill.meta.inner_lr > 0")
    inner, loss = _gradient(train, weights)
    once = {name: (value - alpha * inner[name]).detach().requires_grad_() for name, value in weights.items()}
    outer, moved_loss = _gradient(test, once)
    twice = {name: once[name].detach() - alpha * outer[name] for name in weights}
    return {name: (weights[name].detach() - twice[name]) / alpha for name in weights}, loss + moved_loss


def _gradient(loss_of: Loss, weights: Weights) -> tuple[Weights, float]:
    loss = loss_of(weights)
    gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
    return dict(zip(weights, gradients, strict=True)), float(loss.detach())


MODES: dict[str, Callable[[Loss, Loss, Weights, float], tuple[Weights, float]]] = {
    "exact": exact,
    "first_order": first_order,
    "reptile": reptile,
}


class MetaStep:
    """Makes the `StepResult` of one meta step.

    Batch norm: the forward pass at θ is over both groups together and is the only one that updates running statistics,
    exactly as a plain step would; the pass at θ_c normalises with its own batch and leaves them alone.

    Args:
        model: called with images, gives `Outputs`; its ``objective`` is what both losses are.
        rate: ``step -> learning rate``, the inner rate where none is set.
    """

    def __init__(self, model: nn.Module, settings: MetaSettings, rate: Callable[[int], float]) -> None:
        self.model, self.settings, self.rate = model, settings, rate

    def __call__(self, step: int, batch: Batch) -> StepResult:
        weights: Weights = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
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
                parameter.grad = gradients[name].detach()

        return StepResult(torch.tensor(loss), {"meta_alpha": alpha}, batch.wait_s, batch.tensors(), backward)


def _loss(model: nn.Module, values: Mapping[str, Tensor], out: Outputs, batch: Batch, rows: Tensor) -> Tensor:
    """The objective, with the given weights, over some rows of a batch."""
    objective = model.get_submodule("objective")
    assert isinstance(objective, Objective)
    own = {name.removeprefix("objective."): v for name, v in values.items() if name.startswith("objective.")}
    features = None if out.features is None else out.features[rows]
    chosen = Outputs(out.pooled[rows], out.logits[rows], features)
    loss: Tensor = functional_call(objective, own, (chosen, batch.part(rows)))[0]
    return loss
