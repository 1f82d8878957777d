"""The training loop: schedule, groups, EMA, bit-identical resume, NaN."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.distill.loop import (
    BAD_BATCH,
    CHECKPOINT,
    NORM_BATCHES,
    FitPlan,
    StepResult,
    autocast_pays,
    fit,
)
from compress.engine.errors import TrainingError
from compress.engine.seeds import torch_rng


class Killed(BaseException):
    """Stands for kill -9 inside a test process."""


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(144, 5),
    )


def loss_for(model: nn.Module, killed_at: int | None = None):
    def loss_at(step: int) -> StepResult:
        if step == killed_at:
            raise Killed
        x = torch.randn(8, 3, 8, 8, generator=torch_rng(0, "x", step))
        loss = nn.functional.cross_entropy(model(x), torch.arange(8) % 5)
        return StepResult(loss, {"twice": 2 * float(loss.detach())}, batch={"images": x})

    return loss_at


PLAN = FitPlan(steps=25, lr=1e-2, checkpoint_every=4, ema=0.9, head_lr=1e-3, head=("5.",))


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in model.state_dict().values()])


@pytest.mark.parametrize("killed_at", [1, 4, 9, 24])
def test_a_resumed_run_has_the_same_bits(tmp_path: Path, killed_at: int) -> None:
    whole, broken = net(), net()
    history = fit(whole, loss_for(whole), PLAN, folder=None, name="t", seed=0)
    with pytest.raises(Killed):
        fit(broken, loss_for(broken, killed_at), PLAN, folder=tmp_path, name="t", seed=0)
    resumed = net()
    calls: list[int] = []
    again = fit(
        resumed, loss_for(resumed), PLAN, folder=tmp_path, name="t", seed=0, after_step=calls.append
    )
    assert torch.equal(weights(whole), weights(resumed))
    assert again == history
    assert len(calls) == 25 - killed_at // 4 * 4 + (killed_at >= 4)


def test_history_covers_every_step_once() -> None:
    model = net()
    history = fit(model, loss_for(model), PLAN, folder=None, name="t", seed=0, log_points=7)
    assert history[-1]["step"] == 25 and all(
        abs(h["twice"] - 2 * h["loss"]) < 1e-5 for h in history
    )
    assert history[-1]["loss"] < history[0]["loss"]


def test_nan_stops_and_keeps_the_batch(tmp_path: Path) -> None:
    model = net()

    def loss_at(step: int) -> StepResult:
        result = loss_for(model)(step)
        return StepResult(result.loss * float("nan"), batch=result.batch) if step == 2 else result

    with pytest.raises(TrainingError, match="not finite at step 2"):
        fit(model, loss_at, PLAN, folder=tmp_path, name="t", seed=0)
    from safetensors.torch import load_file

    assert load_file(tmp_path / BAD_BATCH)["images"].shape == (8, 3, 8, 8)
    assert not (tmp_path / CHECKPOINT).exists()


def test_the_schedule_warms_up_and_ends_at_zero() -> None:
    plan = FitPlan(steps=100, lr=1.0, warmup=0.1)
    rates = [plan.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == 1.0 and rates[-1] < 1e-3
    assert rates[9:] == sorted(rates[9:], reverse=True)


def recorded(plan: FitPlan, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What every update of a training with ``plan`` was made with."""
    seen: list[dict[str, object]] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW) -> None:
        fresh = all(not self.state[p] for group in self.param_groups for p in group["params"])
        group = self.param_groups[0]
        seen.append({"lr": group["lr"], "betas": group["betas"], "fresh": fresh})
        step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    model = net()
    fit(model, loss_for(model), plan, folder=None, name="t", seed=0)
    return seen


def test_beta2_is_annealed_by_a_cosine_from_its_start_to_0_999(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = recorded(FitPlan(5, 1e-2, beta2_start=0.96), monkeypatch)
    by_hand = [0.999 - 0.039 * (1 + math.cos(math.pi * i / 4)) / 2 for i in range(5)]
    assert by_hand[0] == pytest.approx(0.96) and by_hand[2] == pytest.approx(0.9795)
    assert [row["betas"][1] for row in seen] == pytest.approx(by_hand)  # type: ignore[index]
    assert by_hand[-1] == pytest.approx(0.999)
    assert {row["betas"][0] for row in seen} == {0.9}  # type: ignore[index]
    fixed = recorded(FitPlan(5, 1e-2), monkeypatch)
    assert {row["betas"] for row in fixed} == {(0.9, 0.999)}


def test_sgd_is_the_textbooks_with_momentum_and_coupled_decay() -> None:
    """``v = 0.9 v + g + 5e-4 w; w = w - lr v`` at the rate of each step; no decay of vectors."""
    model = nn.Linear(3, 2)
    start = [p.detach().clone() for p in model.parameters()]

    def loss_at(step: int) -> StepResult:
        return StepResult((model.weight.sum() + (step + 1) * model.bias.sum()) / 10)

    plan = FitPlan(4, 0.1, warmup=0.0, weight_decay=5e-4, optimizer="sgd", momentum=0.9)
    fit(model, loss_at, plan, folder=None, name="t", seed=0)
    weight, bias = start
    moving, still = torch.zeros_like(weight), torch.zeros_like(bias)
    for step in range(4):
        rate = 0.1 * (1.0 if step == 0 else (1 + math.cos(math.pi * (step - 1) / 3)) / 2)
        moving = 0.9 * moving + 0.1 + 5e-4 * weight
        still = 0.9 * still + 0.1 * (step + 1)
        weight, bias = weight - rate * moving, bias - rate * still
    assert torch.allclose(model.weight, weight, atol=1e-6)
    assert torch.allclose(model.bias, bias, atol=1e-6)


@pytest.mark.parametrize("killed_at", [9, 24])
def test_sgd_resumes_with_the_same_bits(tmp_path: Path, killed_at: int) -> None:
    plan = replace(PLAN, optimizer="sgd")
    whole, broken, resumed = net(), net(), net()
    fit(whole, loss_for(whole), plan, folder=None, name="t", seed=0)
    with pytest.raises(Killed):
        fit(broken, loss_for(broken, killed_at), plan, folder=tmp_path, name="t", seed=0)
    fit(resumed, loss_for(resumed), plan, folder=tmp_path, name="t", seed=0)
    assert torch.equal(weights(whole), weights(resumed))


def test_updates_before_have_their_own_cosine_and_the_others_start_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = FitPlan(4, 1e-2, warmup=0.5, before=3, before_lr=2e-2, beta2_start=0.96)
    seen = recorded(plan, monkeypatch)
    before = [2e-2 * (1 + math.cos(math.pi * i / 3)) / 2 for i in range(3)]
    after = [5e-3, 1e-2, 1e-2, 5e-3]  # two rise, two fall
    assert [row["lr"] for row in seen] == pytest.approx([*before, *after])
    assert [row["fresh"] for row in seen] == [True, False, False, True, False, False, False]
    betas = [row["betas"][1] for row in seen]  # type: ignore[index]
    assert betas[:3] == [0.999] * 3 and betas[3] == pytest.approx(0.96)
    assert plan.total == 7


@pytest.mark.parametrize("killed_at", [2, 9, 10, 12, 20])
def test_a_run_resumed_around_its_first_phase_has_the_same_bits(
    tmp_path: Path, killed_at: int
) -> None:
    plan = replace(PLAN, steps=14, before=10, before_lr=5e-3, beta2_start=0.9, checkpoint_every=5)
    whole, broken, resumed = net(), net(), net()
    history = fit(whole, loss_for(whole), plan, folder=None, name="t", seed=0)
    with pytest.raises(Killed):
        fit(broken, loss_for(broken, killed_at), plan, folder=tmp_path, name="t", seed=0)
    again = fit(resumed, loss_for(resumed), plan, folder=tmp_path, name="t", seed=0)
    assert torch.equal(weights(whole), weights(resumed)) and again == history
    assert history[-1]["step"] == 24


def test_batch_norms_of_the_average_have_the_statistics_of_its_own_activations() -> None:
    model = net()
    moved: list[list[torch.Tensor]] = []
    start = [p.detach().clone() for p in model.parameters()]
    plan = replace(PLAN, steps=30)
    seen: list[int] = []

    def loss_at(step: int) -> StepResult:
        seen.append(step)
        return loss_for(model)(step)

    def keep(step: int) -> None:
        moved.append([p.detach().clone() for p in model.parameters()])

    fit(model, loss_at, plan, folder=None, name="t", seed=0, after_step=keep)
    mean = start  # the average by hand
    for step, now in enumerate(moved):
        decay = min(0.9, (1 + step) / (10 + step))
        mean = [decay * old + (1 - decay) * new for old, new in zip(mean, now, strict=True)]
    conv, norm = model[0], model[1]
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(mean[0], conv.weight, atol=1e-6)
    assert seen == list(range(30 + NORM_BATCHES))  # batches that training would draw next
    batches = [torch.randn(8, 3, 8, 8, generator=torch_rng(0, "x", step)) for step in seen[30:]]
    with torch.no_grad():
        maps = [
            nn.functional.conv2d(x, mean[0], mean[1]).transpose(0, 1).flatten(1) for x in batches
        ]
    by_hand = torch.stack([one.mean(1) for one in maps]).mean(0)
    assert torch.allclose(norm.running_mean, by_hand, atol=1e-5)
    by_hand = torch.stack([one.var(1) for one in maps]).mean(0)  # unbiased, as torch's
    assert torch.allclose(norm.running_var, by_hand, rtol=1e-4)
    assert norm.momentum == 0.1 and norm.training


def test_frozen_batch_norms_and_trainings_without_an_average_see_no_further_batch() -> None:
    model = net()
    model[1].eval()
    before = {name: value.clone() for name, value in model[1].named_buffers()}
    seen: list[int] = []

    def loss_at(step: int) -> StepResult:
        seen.append(step)
        return loss_for(model)(step)

    fit(model, loss_at, PLAN, folder=None, name="t", seed=0)
    assert len(seen) == 25
    assert all(torch.equal(before[name], value) for name, value in model[1].named_buffers())
    seen.clear()
    model[1].train()
    fit(model, loss_at, replace(PLAN, ema=0.0), folder=None, name="t", seed=0)
    assert len(seen) == 25


def test_head_rate_and_decay_go_to_the_right_parameters() -> None:
    from compress.distill.loop import _groups

    groups = {(g["peak"], g["weight_decay"]): len(g["params"]) for g in _groups(net(), PLAN)}
    assert groups == {(1e-2, 0.05): 1, (1e-2, 0.0): 3, (1e-3, 0.05): 1, (1e-3, 0.0): 1}


def test_measuring_bf16_leaves_the_model_alone() -> None:
    model = net()
    before = weights(model)
    assert autocast_pays(model, torch.randn(4, 3, 8, 8)) in (True, False)
    assert torch.equal(before, weights(model))
