"""Mixup: which images meet, and that the loss is that of mixed targets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from distill_targets import CLASSES, WIDTH, batch, inputs
from torch import Tensor, nn

from compress.distill.losses import kl_distill
from compress.distill.mixing import mixed_loss, partners, share_at
from compress.distill.objectives import Objective
from compress.distill.students import Outputs


@pytest.mark.parametrize("real", [1, 3, 4, 5])
def test_every_real_image_meets_a_synthetic_one_as_far_as_there_are_enough(real: int) -> None:
    mask = torch.arange(6) < real
    other = partners(mask)
    assert sorted(other.tolist()) == list(range(6))
    met = ~mask[other][mask]
    assert int(met.sum()) == min(real, 6 - real)


@pytest.mark.parametrize("real", [0, 6])
def test_in_a_batch_of_one_domain_nobody_meets_itself(real: int) -> None:
    other = partners(torch.arange(6) < real)
    assert not (other == torch.arange(6)).any()


def test_the_share_is_a_beta_of_its_step_alone() -> None:
    drawn = [share_at(0.4, 3, step) for step in range(500)]
    assert share_at(0.4, 3, 7) == drawn[7] and share_at(0.0, 3, 7) is None
    shares = torch.tensor(drawn)
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.05)
    assert float(shares.var()) == pytest.approx(0.25 / 1.8, abs=0.02)  # 1 / (4 (2 a + 1))


def test_the_gradient_is_that_of_the_mixed_targets() -> None:
    torch.manual_seed(0)
    net = nn.Linear(48, WIDTH)
    head = nn.Linear(WIDTH, CLASSES)
    whole = replace(batch(), images=torch.randn(6, 3, 4, 4))

    def model(images: Tensor) -> Outputs:
        pooled = net(images.flatten(1))
        return Outputs(pooled, head(pooled))

    objective = Objective(inputs(objective="kd", alpha=0.6, synthetic_ce=True))
    loss, values = mixed_loss(model, lambda out, one: objective(out, one), whole, 0.3)
    got = torch.autograd.grad(loss, net.weight)[0]
    other = partners(whole.real)
    assert whole.teacher_logits is not None
    out = model(0.3 * whole.images + 0.7 * whole.images[other])
    p = (whole.teacher_logits / 2).softmax(-1)
    p = 0.3 * p + 0.7 * p[other]
    hot = F.one_hot(whole.labels, CLASSES).float()
    hot = 0.3 * hot + 0.7 * hot[other]
    soft = -(p * (out.logits / 2).log_softmax(-1)).sum(-1).mean()
    hard = -(hot * out.logits.log_softmax(-1)).sum(-1).mean()
    wanted = torch.autograd.grad(0.6 * 4 * soft + 0.4 * hard, net.weight, retain_graph=True)[0]
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
    assert values["ce"] == pytest.approx(float(hard.detach()), rel=1e-4)
    mine = kl_distill(out.logits, whole.teacher_logits, 2.0)
    theirs = kl_distill(out.logits, whole.teacher_logits[other], 2.0)
    assert values["kl"] == pytest.approx(float(0.3 * mine + 0.7 * theirs), rel=1e-4)
