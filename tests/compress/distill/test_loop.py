"""The training loop: schedule, groups, EMA, bit-identical resume, NaN."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from compress.distill.loop import BAD_BATCH, CHECKPOINT, FitPlan, StepResult, autocast_pays, fit
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


def test_head_rate_and_decay_go_to_the_right_parameters() -> None:
    from compress.distill.loop import _groups

    groups = {(g["peak"], g["weight_decay"]): len(g["params"]) for g in _groups(net(), PLAN)}
    assert groups == {(1e-2, 0.05): 1, (1e-2, 0.0): 3, (1e-3, 0.05): 1, (1e-3, 0.0): 1}


def test_measuring_bf16_leaves_the_model_alone() -> None:
    model = net()
    before = weights(model)
    assert autocast_pays(model, torch.randn(4, 3, 8, 8)) in (True, False)
    assert torch.equal(before, weights(model))
