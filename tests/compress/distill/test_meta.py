"""Meta-distillation: the MLDG identities on quadratics, and the step on a real student."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compress.distill.batches import Batch
from compress.distill.meta import MODES, MetaStep, exact, first_order, reptile
from compress.distill.objectives import Objective
from compress.distill.stage import StudentWithObjective
from compress.distill.students import StudentSpec, build
from compress.distill.terms import ObjectiveInputs
from compress.engine.config import DistillSettings, MetaSettings
from compress.engine.errors import ConfigError

N = 6


def quadratic(seed: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    root = torch.randn(N, N, generator=rng, dtype=torch.float64)
    return root @ root.T / N, torch.randn(N, generator=rng, dtype=torch.float64)


A_TR, B_TR = quadratic(1)
A_TE, B_TE = quadratic(2)
THETA = torch.randn(N, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
G_TR, G_TE = A_TR @ THETA - B_TR, A_TE @ THETA - B_TE


def train(w: Mapping[str, Tensor]) -> Tensor:
    return 0.5 * w["t"] @ A_TR @ w["t"] - B_TR @ w["t"]


def test_(w: Mapping[str, Tensor]) -> Tensor:
    return 0.5 * w["t"] @ A_TE @ w["t"] - B_TE @ w["t"]


test_.__test__ = False  # type: ignore[attr-defined]


def gradient(mode: Any, alpha: float, swapped: bool = False) -> Tensor:
    losses = (test_, train) if swapped else (train, test_)
    return mode(*losses, {"t": THETA.clone().requires_grad_()}, alpha)[0]["t"]


def test_exact_is_the_aligned_gradient_up_to_alpha_squared() -> None:
    aligned = A_TR @ G_TE + A_TE @ G_TR  # the gradient of g_tr . g_te
    errors = [
        float((gradient(exact, a) - (G_TR + G_TE - a * aligned)).norm()) for a in (1e-1, 1e-2, 1e-3)
    ]
    assert errors[0] > 1e-4
    assert errors[0] / errors[1] == pytest.approx(100, rel=1e-3)
    assert errors[1] / errors[2] == pytest.approx(100, rel=1e-3)


def test_exact_differentiates_through_the_inner_step() -> None:
    theta = THETA.clone().requires_grad_()
    inner = torch.autograd.grad(train({"t": theta}), theta, create_graph=True)[0]
    (wanted,) = torch.autograd.grad(train({"t": theta}) + test_({"t": theta - 0.3 * inner}), theta)
    assert torch.allclose(gradient(exact, 0.3), wanted, atol=1e-12)


def test_first_order_misses_one_half_and_both_orders_together_have_half_the_alignment() -> None:
    alpha = 0.05
    assert torch.allclose(
        gradient(first_order, alpha), G_TR + G_TE - alpha * A_TE @ G_TR, atol=1e-13
    )
    both = (gradient(first_order, alpha) + gradient(first_order, alpha, swapped=True)) / 2
    assert torch.allclose(both, G_TR + G_TE - alpha / 2 * (A_TR @ G_TE + A_TE @ G_TR), atol=1e-13)


def test_reptile_is_first_order_with_plain_inner_steps() -> None:
    assert torch.allclose(gradient(reptile, 0.05), gradient(first_order, 0.05), atol=1e-10)
    with pytest.raises(ConfigError, match="inner rate"):
        gradient(reptile, 0.0)


def test_the_inner_gradient_is_clipped_and_one_below_the_limit_is_not() -> None:
    theta = {"t": THETA.clone().requires_grad_()}
    alpha, clip = 0.3, float(G_TR.norm()) / 4
    moved = THETA - alpha * clip * G_TR / G_TR.norm()
    expected = G_TR + A_TE @ moved - B_TE
    assert torch.allclose(first_order(train, test_, theta, alpha, clip)[0]["t"], expected)
    expected = clip * G_TR / G_TR.norm() + A_TE @ moved - B_TE
    assert torch.allclose(reptile(train, test_, theta, alpha, clip)[0]["t"], expected)
    wanted = torch.func.grad(
        lambda t: (
            train({"t": t})
            + test_({"t": t - alpha * clip * (A_TR @ t - B_TR) / (A_TR @ t - B_TR).norm()})
        )
    )(THETA)
    assert torch.allclose(exact(train, test_, theta, alpha, clip)[0]["t"], wanted)
    for mode in MODES.values():
        free, limited = (mode(train, test_, theta, alpha, c)[0]["t"] for c in (math.inf, 1e3))
        assert torch.equal(free, limited)


@pytest.mark.parametrize("mode", MODES)
def test_an_inner_rate_that_explodes_is_held_by_the_clip(mode: str) -> None:
    """Batch norms that do not normalize, pictures far from theirs: gradients of norm 30."""
    loud = replace(batch(), images=20 * batch().images, teacher_logits=20 * batch().teacher_logits)

    def losses(**settings: float) -> list[float]:
        model = model_with_objective(batch_norm=False)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        step = MetaStep(model, MetaSettings(mode=mode, **settings), lambda step: 1e-3)
        found = []
        for number in range(4):
            result = step(number, loud)
            assert result.backward is not None
            result.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            found.append(float(result.loss))
        return found

    calm = losses(inner_lr=1e-6)
    free, held = losses(inner_lr=0.1, inner_clip=1e6), losses(inner_lr=0.1)
    assert MetaSettings().inner_clip == DistillSettings().grad_clip == 1.0
    assert max(free) > 10 * max(calm) and max(held) < 2 * max(calm)


def model_with_objective(batch_norm: bool) -> StudentWithObjective:
    torch.manual_seed(0)
    spec = StudentSpec("test_resnet", 5, None, 32, (0.5,) * 3, (0.5,) * 3, "random")
    student = build(spec)
    head = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1)
    inputs = ObjectiveInputs(
        DistillSettings(alpha=1), student.width, head, head, 10.0, head, rows=()
    )
    model = StudentWithObjective(student, Objective(inputs)).train()
    if not batch_norm:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    return model


def batch() -> Batch:
    rng = torch.Generator().manual_seed(5)
    group = torch.tensor([True] * 4 + [False] * 4)
    return Batch(
        torch.randn(8, 3, 32, 32, generator=rng),
        torch.randn(8, 5, generator=rng),
        None,
        torch.arange(8) % 5,
        torch.zeros(8, dtype=torch.bool),
        group=group,
    )


def filled(model: StudentWithObjective, mode: str, alpha: float) -> list[Tensor]:
    result = MetaStep(model, MetaSettings(mode=mode, inner_lr=alpha), lambda step: 0.1)(0, batch())
    assert result.backward is not None
    result.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("mode", ["exact", "first_order"])
def test_without_an_inner_step_it_is_plain_distillation_on_both_groups(mode: str) -> None:
    model = model_with_objective(batch_norm=False)
    got = filled(copy.deepcopy(model), mode, alpha=0.0)
    whole = batch()
    for rows in (whole.group, ~whole.group):
        part = whole.part(rows)
        model.objective(model(part.images), part)[0].backward()  # summed losses
    wanted = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("alpha", [1e-6, 0.5])
def test_running_statistics_move_exactly_as_in_a_plain_step(mode: str, alpha: float) -> None:
    model = model_with_objective(batch_norm=True)
    plain = copy.deepcopy(model)
    plain.objective(plain(batch().images), batch())
    filled(model, mode, alpha)
    for (name, a), (_, b) in zip(model.named_buffers(), plain.named_buffers(), strict=True):
        assert torch.equal(a, b), name


def test_an_inner_step_changes_the_gradient_and_the_modes_differ() -> None:
    made = {
        mode: torch.cat([g.flatten() for g in filled(model_with_objective(True), mode, 0.3)])
        for mode in ("exact", "first_order")
    }
    none = torch.cat([g.flatten() for g in filled(model_with_objective(True), "first_order", 0.0)])
    assert float((made["first_order"] - none).norm() / none.norm()) > 1e-3
    assert float((made["exact"] - made["first_order"]).norm() / none.norm()) > 1e-4


def test_a_batch_part_keeps_rows_of_every_target() -> None:
    part = replace(batch(), conditions=torch.arange(8.0)[:, None]).part(batch().group)
    assert len(part.images) == len(part.labels) == 4 and part.conditions is not None
    assert part.conditions[:, 0].tolist() == [0, 1, 2, 3] and part.teacher_features is None
