"""Oracles of GenDD: contraction identity, chunks, zero-initialized loss, sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from tiny_models import perturbed
from torch import Tensor

from compress.distill.diffusion import Denoiser, NoiseSchedule, ancestral_sample
from compress.distill.gendd import (
    CENTERS,
    ContractedTarget,
    ContractionTerm,
    GenddTerm,
    Standardizer,
    class_centers,
    contract,
    draw_features,
    drop_condition,
    feature_logits,
    merge,
    mixup,
    repeat_condition,
    split,
)
from compress.distill.pools import FeatureRows
from compress.distill.terms import ObjectiveInputs
from compress.engine.config import DistillSettings, GenddSettings
from compress.engine.errors import ConfigError
from compress.engine.seeds import torch_rng

K, D, WIDTH = 5, 8, 6  # classes, teacher's feature, student's feature
SMALL = GenddSettings(
    token_dim=2,
    width=32,
    depth=2,
    diffusion_steps=50,
    repeats=4,
    condition_drop=0.1,
    sampling_steps=20,
    guidance_scale=1.0,
)


def unit(*shape: int, what: str) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch_rng(0, "test", what)), dim=-1)


# a quarter of a batch is real
ROWS = (
    FeatureRows(unit(30, D, what="real") + 0.2, torch.arange(30) % K, 0.25),
    FeatureRows(unit(70, D, what="synthetic").half(), torch.arange(70) % K, 0.75),
)


@dataclass
class Targets:
    teacher_features: Tensor
    labels: Tensor


def inputs(smooth: float = 0.0, center: str = "probe_row", **gendd: object) -> ObjectiveInputs:
    options = SMALL.model_copy(update=gendd)
    return ObjectiveInputs(
        DistillSettings(gendd=options, smooth=smooth, center=center),  # type: ignore[arg-type]
        width=WIDTH,
        zero_shot=unit(K, D, what="text"),
        probe=unit(K, D, what="probe"),
        logit_scale=10.0,
        class_means=unit(K, D, what="means"),
        rows=ROWS,
    )


def batch(count: int = 64) -> Targets:
    return Targets(unit(count, D, what="teacher"), torch.arange(count) % K)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


# contraction


@pytest.mark.parametrize("s", [0.0, 0.3, 0.9, 1.0])
def test_the_contracted_loss_is_the_multi_task_loss_up_to_a_constant(s: float) -> None:
    x, f, c = (torch.randn(7, D, dtype=torch.float64) for _ in range(3))
    squared = lambda a: a.square().sum(-1)  # noqa: E731
    expected = (1 - s) * squared(x - f) + s * squared(x - c) - s * (1 - s) * squared(f - c)
    assert torch.allclose(squared(x - contract(f, c, s)), expected, atol=1e-6)


def test_contraction_shrinks_the_variance_within_a_class_and_keeps_the_center() -> None:
    features, center = torch.randn(500, D), torch.randn(D)
    moved = contract(features, center.expand(500, D), 0.9)
    assert torch.allclose(moved.var(0), 0.1**2 * features.var(0), rtol=1e-3)
    assert torch.equal(contract(features, center.expand(500, D), 1.0), center.expand(500, D))
    assert torch.equal(contract(features, center.expand(500, D), 0.0), features)


def test_at_s_1_the_head_answers_the_class_exactly_where_its_row_wins_over_the_others() -> None:
    rows = (
        torch.randn(40, 3) * torch.linspace(0.3, 2, 40)[:, None]
    )  # of unequal length: some rows lose at home
    labels = torch.arange(40)
    moved = contract(torch.randn(40, 3), class_centers(rows, labels), 1.0)
    wins = (rows @ rows.T).argmax(1) == labels
    assert torch.equal((moved @ rows.T).argmax(1) == labels, wins)
    assert 0 < int(wins.sum()) < 40


def test_soft_labels_give_the_mean_center_and_one_hot_ones_the_row() -> None:
    table, labels = torch.randn(K, D), torch.arange(K)
    assert torch.allclose(class_centers(table, F.one_hot(labels, K)), table[labels])
    assert torch.allclose(class_centers(table, torch.full((1, K), 1 / K)), table.mean(0), atol=1e-6)


def test_the_three_centers_are_three_tables_and_an_unknown_one_is_an_error() -> None:
    found = [ContractedTarget(inputs(center=name)).centers for name in CENTERS]
    assert all(table.shape == (K, D) for table in found)
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[1], found[2])
    settings = DistillSettings().model_copy(update={"center": "txt"})
    wrong = replace(inputs(), settings=settings)
    with pytest.raises(ConfigError, match="did you mean 'text'"):
        ContractedTarget(wrong)


def test_without_contraction_no_label_is_needed() -> None:
    unlabeled = Targets(batch().teacher_features, torch.full((64,), 10**6))
    assert torch.isfinite(ContractionTerm(WIDTH, inputs(0.0))(torch.randn(64, WIDTH), unlabeled))
    with pytest.raises(IndexError):
        ContractionTerm(WIDTH, inputs(0.9))(torch.randn(64, WIDTH), unlabeled)


# statistics of the target


def moments_by_hand(smooth: float, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of x' = (1 - s) f_T + s c_y over ``ROWS``, each pool by its share."""
    moved = [
        (1 - smooth) * one.features.double() + smooth * centers[one.labels].double() for one in ROWS
    ]
    mean = 0.25 * moved[0].mean(0) + 0.75 * moved[1].mean(0)
    square = 0.25 * (moved[0] - mean).square().mean(0) + 0.75 * (moved[1] - mean).square().mean(0)
    return mean.float(), square.sqrt().float()


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("s", [0.0, 0.5, 0.9, 1.0])
def test_the_contracted_target_is_standardized_with_its_own_statistics(
    s: float, center: str
) -> None:
    target = ContractedTarget(inputs(s, center))
    mean, std = moments_by_hand(s, target.centers)
    assert torch.allclose(target.standardise.mean, mean, atol=1e-6)
    assert torch.allclose(target.standardise.std, std, atol=1e-6)
    seen = [target(Targets(one.features, one.labels)) for one in ROWS]  # as batches draw them
    assert torch.allclose(
        0.25 * seen[0].mean(0) + 0.75 * seen[1].mean(0), torch.zeros(D), atol=1e-5
    )
    square = 0.25 * seen[0].square().mean(0) + 0.75 * seen[1].square().mean(0)
    assert torch.allclose(square, torch.ones(D), atol=1e-5)


def test_statistics_are_the_same_bits_again_and_those_of_one_row_are_finite() -> None:
    first, again = (ContractedTarget(inputs(0.9)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    one = FeatureRows(unit(1, D, what="one"), torch.zeros(1).long(), 1.0)
    target = ContractedTarget(replace(inputs(0.9), rows=(one,)))
    assert not target(Targets(one.features, one.labels)).any()


# tokens


def test_merge_is_the_inverse_of_split() -> None:
    features = torch.randn(3, D)
    assert split(features, 2).shape == (3, 4, 2)
    assert torch.equal(split(features, 2)[1, 3], features[1, 6:8])
    assert torch.equal(merge(split(features, 2)), features)


def test_a_width_that_does_not_divide_names_one_that_does() -> None:
    with pytest.raises(
        ConfigError, match=r"token_dim=3 for D=8 .* --set distill.gendd.token_dim=[24]"
    ):
        GenddTerm(WIDTH, inputs(token_dim=3))


def test_more_sampling_than_diffusion_steps_is_an_error_before_any_training() -> None:
    with pytest.raises(ConfigError, match=r"sampling_steps=60 .* 2\.\.50"):
        GenddTerm(WIDTH, inputs(sampling_steps=60))


# loss


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_before_training_no_noise_is_predicted_so_the_mse_is_one_for_any_target(
    scale: float,
) -> None:
    term = GenddTerm(WIDTH, inputs(repeats=50))
    many = Targets(scale * torch.randn(200, D), torch.zeros(200))
    mse, _ = term.terms(torch.randn(200, WIDTH), many)
    assert len(mse) == 200 * 4 * 50
    assert float(mse.detach().mean()) == pytest.approx(1, abs=0.02)
    epsilon, logits = term.denoiser(
        torch.randn(3, 2), torch.arange(3), torch.randn(3, WIDTH), torch.arange(3)
    )
    assert not epsilon.any() and not logits.any()


def test_the_condition_is_dropped_with_its_probability_and_as_a_whole_row() -> None:
    dropped = drop_condition(torch.ones(20_000, 3), 0.2)
    assert float((dropped == 0).all(1).float().mean()) == pytest.approx(0.2, abs=0.01)
    assert set(dropped.sum(1).unique().tolist()) == {0.0, 3.0}
    assert (
        bool((drop_condition(torch.ones(50, 3), 0.0) == 1).all())
        and not drop_condition(torch.ones(50, 3), 1.0).any()
    )


def test_mixup_mixes_condition_and_target_alike() -> None:
    rows = torch.randn(30, 4)
    condition, target = mixup(rows, 2 * rows, 1.0)
    assert torch.allclose(target, 2 * condition, atol=1e-5) and not torch.allclose(condition, rows)
    assert torch.allclose(condition.mean(0), rows.mean(0), atol=1e-5)
    first, second = (
        float(GenddTerm(WIDTH, inputs(mixup_beta=b))(torch.randn(64, WIDTH), batch()))
        for b in (0.0, 1.0)
    )
    assert math.isfinite(first) and math.isfinite(second)


def test_the_loss_depends_on_the_global_seed_alone_and_reaches_the_student() -> None:
    term, pooled = GenddTerm(WIDTH, inputs()), torch.randn(64, WIDTH)
    perturbed(term)

    def loss(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return term(pooled, batch())

    pooled.requires_grad_()
    assert torch.equal(loss(3), loss(3)) and not torch.equal(loss(3), loss(4))
    loss(3).backward()
    assert pooled.grad is not None and float(pooled.grad.abs().max()) > 0


def test_the_control_is_the_mean_square_of_a_bias_free_projection() -> None:
    given = inputs(0.9)
    term, pooled, targets = ContractionTerm(WIDTH, given), torch.randn(64, WIDTH), batch()
    contracted = 0.1 * targets.teacher_features + 0.9 * given.probe[targets.labels]
    mean, std = moments_by_hand(0.9, given.probe)
    gaps = term.proj(pooled) - (contracted - mean) / std
    expected = sum(float(gap) ** 2 for row in gaps for gap in row) / 64 / D  # MSE(P z, x')
    assert float(term(pooled, targets).detach()) == pytest.approx(expected, rel=1e-5)
    assert term.proj.bias is None
    assert torch.allclose(
        term.target.standardise(term.features(pooled)), term.proj(pooled), atol=1e-5
    )


@pytest.mark.parametrize("width", [4, 8, 32])
@pytest.mark.parametrize("smooth", [0.0, 0.9])
def test_the_control_has_the_scale_of_the_denoising_error_at_every_width(
    smooth: float, width: int
) -> None:
    """Predicting nothing costs 1 in both, so one weight means the same for both."""
    rows = FeatureRows(unit(200, width, what="wide") + 0.3, torch.arange(200) % K, 1.0)
    given = replace(inputs(smooth), rows=(rows,), probe=unit(K, width, what="wide probe"))
    term = ContractionTerm(WIDTH, given)
    torch.nn.init.zeros_(term.proj.weight)
    every = Targets(rows.features, rows.labels)
    pooled = torch.randn(200, WIDTH)
    assert float(term(pooled, every).detach()) == pytest.approx(1, abs=1e-5)
    error, _ = GenddTerm(WIDTH, given).terms(pooled, every)  # untrained: it predicts no noise
    assert float(error.detach().mean()) == pytest.approx(1, abs=0.1)


def test_standardizing_is_undone_and_a_dead_dimension_stays_finite() -> None:
    features = 0.03 * torch.randn(300, D) + torch.randn(D)
    both = Standardizer(features.mean(0), features.std(0))
    assert torch.allclose(both(features).std(0), torch.ones(D), atol=1e-4)
    assert torch.allclose(both.invert(both(features)), features, atol=1e-5)
    dead = Standardizer(torch.zeros(D), torch.cat([torch.zeros(1), torch.ones(D - 1)]))
    assert torch.isfinite(dead(features)).all() and torch.allclose(
        dead.invert(dead(features)), features, atol=1e-6
    )


# sampling


def test_repeats_are_outermost_so_the_mean_is_over_one_image() -> None:
    rows, chunk = repeat_condition(torch.arange(3.0)[:, None], 2, 4)
    assert rows[:, 0].tolist() == [0, 0, 1, 1, 2, 2] * 4 and chunk.tolist() == [0, 1] * 12
    assert torch.equal(rows.view(4, 3, 2).mean(0)[:, 0], torch.arange(3.0))


def test_sampling_repeats_with_its_generator_and_ends_without_noise() -> None:
    term, pooled = GenddTerm(WIDTH, inputs(guidance_scale=2.0)), torch.randn(6, WIDTH)
    perturbed(term, 0.02)

    def drawn(seed: int, **options: float) -> Tensor:
        rng = torch_rng(seed, "sample")
        return draw_features(term, pooled, generator=rng, **options).mean(0)

    before = torch.get_rng_state()
    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert drawn(1).shape == (6, D)
    assert not torch.equal(drawn(1, temperature=0.5), drawn(1))


def test_logits_are_scaled_cosines() -> None:
    head, features = unit(K, D, what="head"), 7 * unit(3, D, what="rows")
    assert torch.allclose(
        feature_logits(features, head, 10.0),
        10 * F.cosine_similarity(features[:, None], head, dim=-1),
    )
    assert torch.equal(feature_logits(3 * head, head, 10.0).argmax(1), torch.arange(K))


def test_it_learns_an_affine_target_and_n_samples_divide_the_variance_by_n() -> None:
    ends = FeatureRows(torch.tensor([[-1.0], [1.0]]).expand(2, 4), torch.zeros(2).long(), 1.0)
    given = replace(inputs(width=64, repeats=4), rows=(ends,))  # standardized as they are
    given = replace(given, probe=unit(K, 4, what="probe4"))
    term = GenddTerm(WIDTH, given)
    slope, shift = (
        torch.randn(WIDTH, 4, generator=torch_rng(0, "toy")) / WIDTH**0.5,
        torch.tensor([0.5, -0.5, 0.0, 1.0]),
    )
    optimizer = torch.optim.AdamW(term.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)

    def pooled(count: int) -> Tensor:
        rows = torch.randn(count, WIDTH)
        return F.layer_norm(rows, (WIDTH,))  # the term's own norm then keeps the map affine

    for _ in range(500):
        z = pooled(32)
        loss = term(z, Targets(z @ slope + shift, torch.zeros(32)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    z = pooled(100)
    target = z @ slope + shift

    def explained(draws: Tensor) -> float:
        return float(1 - (draws.mean(0) - target).square().mean() / target.var(0).mean())

    draws = draw_features(term, z, samples=16)
    assert explained(draws) > 0.95
    single, averaged = draws.var(0).mean(), draws.view(4, 4, 100, 4).mean(1).var(0).mean()
    assert float(single) > 0 and float(averaged / single) == pytest.approx(1 / 4, rel=0.15)
    # why the estimate of x0 has a limit: at the last index it divides by hardly any signal
    term.options = term.options.model_copy(update={"sample_clip": None})
    assert explained(draw_features(term, z, samples=1)) < 0


def test_the_samples_of_an_image_are_distinguishable_from_its_neighbors() -> None:
    """With a denoiser that answers the condition, row i of the average belongs to image i."""

    class Echo(Denoiser):
        def forward(
            self, x_t: Tensor, t: Tensor, condition: Tensor, chunk: Tensor
        ) -> tuple[Tensor, Tensor]:
            index = int(t)
            wanted = condition[:, :1] + 10 * chunk[:, None]
            schedule = NoiseSchedule.cosine(50)
            epsilon = (x_t - schedule.signal[index] * wanted) / schedule.noise[index]
            return epsilon, -torch.ones_like(epsilon)

    rows, chunk = repeat_condition(torch.arange(3.0)[:, None], 2, 4)
    drawn = ancestral_sample(Echo(2, 2, 1, 4, 0), NoiseSchedule.cosine(50), rows, chunk)
    features = merge(drawn.view(4 * 3, 2, -1)).view(4, 3, -1).mean(0)
    expected = torch.tensor([[c, c, 10 + c, 10 + c] for c in (0.0, 1.0, 2.0)])
    assert torch.allclose(features, expected, atol=1e-2)
