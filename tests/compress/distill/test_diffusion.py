"""Oracles of the diffusion: known schedule values, variance bounds, loss terms, guidance."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_models import perturbed
from torch import Tensor

from compress.distill.diffusion import Denoiser, NoiseSchedule, guided, hybrid_loss, sinusoid

WIDTH = 6  # of the condition


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_chunks_permute_with_their_indices_and_an_index_alone_matters_after_training() -> None:
    denoiser = Denoiser(2, 4, WIDTH, 32, 2)
    x, t, z, chunk = (
        torch.randn(4, 2),
        torch.full((4,), 7),
        torch.randn(1, WIDTH).expand(4, -1),
        torch.arange(4),
    )
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(
        denoiser(x, t, z, chunk)[0], denoiser(x, t, z, chunk[order])[0]
    )  # all zero before training
    perturbed(denoiser)
    straight = denoiser(x, t, z, chunk)[0]
    assert torch.allclose(straight[order], denoiser(x[order], t, z, chunk[order])[0], atol=1e-5)
    assert (straight - denoiser(x, t, z, chunk[order])[0]).abs().max() > 1e-2


def test_the_cosine_schedule_has_its_known_values() -> None:
    schedule = NoiseSchedule.cosine(1000)
    at = torch.tensor([0, 249, 499, 749])
    assert schedule.signal[at].square().tolist() == pytest.approx(
        [0.999959, 0.847012, 0.493844, 0.144272], abs=1e-6
    )
    assert 0 < float(schedule.signal[999]) < 1e-3
    assert float(schedule.log_beta.exp().max()) == pytest.approx(0.999)


def test_q_sample_keeps_unit_variance_and_predict_x0_inverts_it() -> None:
    schedule, x0, noise = NoiseSchedule.cosine(1000), torch.randn(20_000, 2), torch.randn(20_000, 2)
    for index in (0, 250, 600, 999):
        t = torch.full((20_000,), index)
        assert float(schedule.q_sample(x0, t, noise).var()) == pytest.approx(1, abs=0.03)
    t = torch.randint(900, (20_000,))
    assert torch.allclose(
        schedule.predict_x0(schedule.q_sample(x0, t, noise), t, noise), x0, atol=1e-4
    )


def test_the_learned_variance_lies_between_the_posteriors_and_betas() -> None:
    schedule = NoiseSchedule.cosine(100)
    t, ones = torch.arange(100), torch.ones(100, 1)
    low, middle, high = (schedule.log_variance(t, v * ones)[:, 0] for v in (-1, 0, 1))
    assert torch.allclose(low, schedule.posterior_log_variance) and torch.allclose(
        high, schedule.log_beta
    )
    assert bool((low[1:] < middle[1:]).all()) and bool((middle[1:] < high[1:]).all())
    assert torch.isfinite(low).all()


def test_respacing_keeps_the_signal_at_the_kept_steps_and_both_ends() -> None:
    schedule = NoiseSchedule.cosine(1000)
    fewer = schedule.respaced(64)
    assert len(fewer) == 64 and fewer.timesteps[[0, -1]].tolist() == [0, 999]
    assert torch.equal(fewer.signal, schedule.signal[fewer.timesteps])
    whole = schedule.respaced(1000)
    assert torch.equal(whole.timesteps, schedule.timesteps) and torch.equal(
        whole.log_beta, schedule.log_beta
    )


def test_sinusoids_of_different_steps_are_far_apart() -> None:
    embedded = sinusoid(torch.arange(1000))
    assert embedded.shape == (1000, 256) and torch.equal(embedded[0, :128], torch.ones(128))
    assert float(torch.cdist(embedded, embedded).fill_diagonal_(9).min()) > 0.3


def test_the_vlb_trains_the_variance_and_not_the_mean() -> None:
    denoiser, schedule = Denoiser(2, 4, WIDTH, 32, 2), NoiseSchedule.cosine(50)
    perturbed(denoiser, 0.05)
    x0, z, chunk = torch.randn(400, 2), torch.randn(400, WIDTH), torch.arange(400) % 4
    t = torch.randint(50, (400,))

    def gradient(term: int) -> Tensor:
        terms = hybrid_loss(denoiser, schedule, x0, t, torch.randn(400, 2), z, chunk)
        return torch.autograd.grad(terms[term].mean(), denoiser.output.weight)[0]

    mse, vlb = gradient(0), gradient(1)
    assert float(vlb[:2].abs().max()) == 0 and float(vlb[2:].abs().max()) > 0
    assert float(mse[2:].abs().max()) == 0 and float(mse[:2].abs().max()) > 0


def test_the_vlb_is_zero_for_a_perfect_prediction_and_the_posteriors_variance() -> None:
    schedule, x0, noise, t = (
        NoiseSchedule.cosine(50),
        torch.randn(49, 2),
        torch.randn(49, 2),
        torch.arange(1, 50),
    )

    class Oracle(Denoiser):
        answer = noise, -torch.ones_like(noise)

        def forward(self, *_: Tensor) -> tuple[Tensor, Tensor]:
            return self.answer

    oracle, rest = Oracle(2, 1, 1, 4, 0), (torch.zeros(49, 1), torch.zeros(49, dtype=torch.long))
    mse, vlb = hybrid_loss(oracle, schedule, x0, t, noise, *rest)
    assert float(mse.max()) == 0 and float(vlb.abs().max()) < 1e-4
    oracle.answer = noise, torch.ones_like(noise)
    log_ratio = schedule.posterior_log_variance[t] - schedule.log_beta[t]
    expected = 0.5 * (-log_ratio - 1 + log_ratio.exp()) / math.log(2)
    assert torch.allclose(
        hybrid_loss(oracle, schedule, x0, t, noise, *rest)[1], expected, atol=1e-4
    )


def test_guidance_1_is_the_conditional_path_and_0_the_unconditional_one() -> None:
    denoiser = Denoiser(2, 4, WIDTH, 32, 2)
    perturbed(denoiser)
    x, t, z, chunk = (
        torch.randn(8, 2),
        torch.tensor([5]),
        torch.randn(8, WIDTH),
        torch.arange(8) % 4,
    )
    conditional, blind = denoiser(x, t, z, chunk)[0], denoiser(x, t, torch.zeros_like(z), chunk)[0]
    assert torch.equal(guided(denoiser, x, t, z, chunk, 1.0)[0], conditional)
    assert torch.equal(guided(denoiser, x, t, z, chunk, 0.0)[0], blind)
    twice = guided(denoiser, x, t, z, chunk, 2.0)[0]
    assert torch.allclose(twice, blind + 2 * (conditional - blind), atol=1e-5)
    near = guided(denoiser, x, t, z, chunk, 1.0 + 1e-7)[0]  # computed with both paths
    assert torch.allclose(near, conditional, atol=1e-5)
