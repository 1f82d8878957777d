"""Inversion: the loss falls, images follow their own seeds, the class term keeps classes apart."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from compress.data.split import ClassInfo
from compress.engine.config import (
    GenerateSettings,
    InversionSettings,
    PromptSettings,
    TeacherSettings,
)
from compress.engine.seeds import derive
from compress.generate.inversion.decoder import Decoder
from compress.generate.inversion.decoders import load_decoder
from compress.generate.inversion.strategy import Inversion, spherical
from compress.generate.jobs import Job
from compress.generate.sources import Sources
from compress.petals.world import SPECIES
from compress.teacher.clip import ClipTeacher
from compress.teacher.loading import load_teacher

CHOSEN = (0, 1, 4, 5)  # two genera of look-alikes


@cache
def teacher() -> ClipTeacher:
    return load_teacher(TeacherSettings(name="petals"))


@cache
def decoder(name: str = "petals-vq") -> Decoder:
    return load_decoder(GenerateSettings(inversion=InversionSettings(decoder=name, image_size=32)))


def strategy(
    chosen: tuple[int, ...] = CHOSEN, prompts: dict[str, Any] | None = None, **inversion: Any
) -> Inversion:
    classes = [ClassInfo(SPECIES[i].name, SPECIES[i].name) for i in chosen]
    none = np.zeros((0, 32, 32, 3), np.uint8)
    sources = Sources(classes, none, np.zeros(0, np.int64), [], 5, teacher=teacher)
    settings = GenerateSettings(
        strategy="inversion",
        per_class=3,
        inversion=InversionSettings(**{"steps": 3, "cutouts": 2, "image_size": 32, **inversion}),
        prompts=PromptSettings(**{"template": "a photo of a {}", **(prompts or {})}),
    )
    return Inversion(settings, sources)


def jobs(numbers: int, classes: int = len(CHOSEN)) -> list[Job]:
    rows = [(j, c) for j in range(numbers) for c in range(classes)]
    return [Job(i, c, j, derive(5, "generate", c, j)) for i, (j, c) in enumerate(rows)]


@pytest.mark.parametrize("name", ["petals-vq", "pixels"])
def test_the_loss_falls_and_the_teacher_sees_the_prompt(name: str) -> None:
    made = strategy(steps=25, cutouts=2)
    out = made.generate(jobs(2), decoder(name))
    losses = np.asarray([record.loss for record in out.records])
    assert losses.shape == (8, 2)
    assert losses[:, 1].mean() < 0.8 * losses[:, 0].mean()
    features = teacher().encode_images(out.images)
    own = (features * out.conditions).sum(1).mean()
    noise = (teacher().encode_images(first_images(made, name)) * out.conditions).sum(1).mean()
    assert own > noise + 0.1
    assert out.images.shape == (8, 32, 32, 3) and out.images.dtype == np.uint8


def first_images(made: Inversion, name: str) -> np.ndarray:
    latents = decoder(name).start([derive(job.seed, "latents") for job in jobs(2)])
    with torch.no_grad():
        images = decoder(name).render(latents)
    return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_latents_stay_in_their_bounds() -> None:
    class Watched:
        """The real decoder, with its latents looked at whenever it renders."""

        def __init__(self) -> None:
            self.seen: list[torch.Tensor] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(decoder(), name)

        def render(self, latents: torch.Tensor) -> torch.Tensor:
            self.seen.append(latents.detach().clone())
            return decoder().render(latents)

    watched: Any = Watched()
    strategy(steps=4, lr=5.0).generate(jobs(1), watched)
    assert len(watched.seen) == 5
    for latents in watched.seen:
        clipped = latents.clone()
        decoder().clip_(clipped)
        assert torch.equal(clipped, latents)


def test_records_hold_prompt_style_and_seed() -> None:
    made = strategy(
        prompts={
            "kind": "words",
            "style_template": "a {style} of a {}",
            "words": ("photo", "sketch"),
        }
    )
    out = made.generate(jobs(2), decoder())
    assert {record.style_id for record in out.records} == {0, 1}
    for job, record in zip(jobs(2), out.records, strict=True):
        style = ("photo", "sketch")[record.style_id or 0]
        assert record.prompt == f"a {style} of a {SPECIES[CHOSEN[job.class_id]].name}"
        assert (record.method, record.generator_id, record.seed) == (
            "inversion",
            "petals-vq",
            job.seed,
        )
        assert record.source_ids == () == record.weights
    assert made.facts()["styles"] == ["photo", "sketch"]
    assert made.per_class() == 3


def test_an_image_repeats_and_does_not_depend_on_its_batch_mates() -> None:
    everything = strategy().generate(jobs(2), decoder())
    again = strategy().generate(jobs(2), decoder())
    np.testing.assert_array_equal(again.images, everything.images)
    mixed = [jobs(2)[0], *jobs(3)[5:12]]  # the same size, other mates
    other = strategy().generate(mixed, decoder())
    np.testing.assert_array_equal(other.images[0], everything.images[0])
    np.testing.assert_array_equal(other.conditions[0], everything.conditions[0])


WORDS = {
    "kind": "words",
    "style_template": "a {style} of a {}",
    "words": ("photo", "sketch", "painting"),
}


def trajectories(each: int, count: int) -> list[Job]:
    """Jobs of ``count`` trajectories of each class, each with its images one after the other."""
    every = {(job.number, job.class_id): job for job in jobs(each * count)}
    return [
        every[q * each + p, c]
        for q in range(count)
        for c in range(len(CHOSEN))
        for p in range(each)
    ]


def test_snapshots_of_a_trajectory_start_with_the_image_it_would_have_given() -> None:
    options = {"steps": 12, "cutouts": 1, "lr": 0.4, "betas": (0.5, 0.99), "snapshot_steps": 4}
    made = strategy(prompts=WORDS, snapshots=3, **options)
    out = made.generate(trajectories(3, 2), decoder())
    alone = strategy(prompts=WORDS, **options).generate(trajectories(3, 2)[::3], decoder())
    np.testing.assert_array_equal(out.images[::3], alone.images)
    np.testing.assert_array_equal(out.conditions[1::3], alone.conditions)
    assert [record.style_id for record in out.records[2::3]] == [r.style_id for r in alone.records]
    losses = np.asarray([record.loss for record in out.records]).reshape(8, 3, 2)
    assert (losses[:, 1:, 0].mean(0) < losses[:, 0, 0].mean()).all(), "they go on from there"
    features = teacher().encode_images(out.images).reshape(8, 3, -1)
    same = (features[:, 0] * features[:, 2]).sum(-1).mean()
    assert 0.02 < 1 - same < 1 - (features[:4, 0] * features[4:, 0]).sum(-1).mean()


def test_a_warm_start_goes_on_toward_its_own_target() -> None:
    options = {"steps": 12, "cutouts": 1, "lr": 0.4, "betas": (0.5, 0.99), "snapshot_steps": 8}
    made = strategy(prompts=WORDS, snapshots=2, snapshot_target="own", **options)
    wanted = trajectories(2, 3)
    out = made.generate(wanted, decoder())
    own = torch.stack([made.prompts.target(job).feature for job in wanted])
    np.testing.assert_array_equal(out.conditions, own)
    features = torch.from_numpy(teacher().encode_images(out.images))
    changed = [i for i in range(1, 24, 2) if not torch.equal(own[i], own[i - 1])]
    assert len(changed) > 4
    nearer = (features[changed] * own[changed]).sum(-1)
    before = (features[[i - 1 for i in changed]] * own[changed]).sum(-1)
    assert (nearer > before).float().mean() > 0.8


def test_less_momentum_and_a_higher_rate_get_as_far_in_half_the_steps() -> None:
    """On a few images; lower momentum forgets the first, noisy gradients sooner."""
    last = {}
    for steps, more in ((30, {}), (15, {"lr": 0.4, "betas": (0.5, 0.99)})):
        out = strategy(steps=steps, cutouts=1, **more).generate(jobs(2), decoder())
        seen = teacher().encode_images(out.images)
        last[steps] = (seen * out.conditions).sum(1).mean()
    assert last[15] > last[30] - 0.01


def test_without_class_weight_the_other_classes_do_not_matter() -> None:
    alone, among = strategy((0,)), strategy((0, 1, 4, 5))
    for weight, equal in ((0.0, True), (1.0, False)):
        made = [
            strategy(chosen, class_weight=weight).generate([jobs(1)[0]], decoder()).images
            for chosen in ((0, 4), (0, 1))
        ]
        assert np.array_equal(*made) is equal
    assert not torch.equal(alone.prompts.class_head, among.prompts.class_head)


def test_the_class_term_makes_more_images_their_own_class() -> None:
    """Twenty images of look-alikes, judged without augmentation by the names of all four."""
    shares = {}
    for weight in (0.0, 1.0):
        made = strategy(class_weight=weight, steps=20)
        out = made.generate(jobs(5), decoder())
        features = torch.from_numpy(teacher().encode_images(out.images))
        labels = torch.tensor([job.class_id for job in jobs(5)])
        shares[weight] = (
            ((features @ made.prompts.class_head.T).argmax(1) == labels).float().mean().item()
        )
    assert shares[1.0] > shares[0.0]


def pair(cosine: float) -> tuple[torch.Tensor, torch.Tensor]:
    a = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    return a, torch.tensor([cosine, math.sqrt(1 - cosine * cosine), 0.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("cosine", "expected"),
    [
        (1, 0),
        (0.9, 0.1017),
        (0.5, 0.5483),
        (0.3, 0.8015),
        (0.25, 0.8687),
        (0.2, 0.9377),
        (0, math.pi**2 / 8),
    ],
)
def test_the_spherical_distance_is_half_the_squared_angle(cosine: float, expected: float) -> None:
    a, b = pair(cosine)
    assert spherical(a, 3 * b).item() == pytest.approx(expected, abs=5e-5)
    assert spherical(a, b).item() == pytest.approx(math.acos(cosine) ** 2 / 2, abs=1e-9)


def test_opposite_vectors_are_at_half_pi_squared_but_for_the_clamp() -> None:
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert spherical(a, -a).item() == pytest.approx(math.pi**2 / 2, abs=0.01)


@pytest.mark.parametrize("cosine", [-0.999, -0.5, 0.0, 0.3, 0.999, 1.0, -1.0])
def test_its_gradient_is_finite(cosine: float) -> None:
    a, b = (part.float() for part in pair(cosine))
    a.requires_grad_()
    spherical(a, b).backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()


def test_the_formula_as_the_poster_prints_it_is_not_a_number_at_the_cosines_of_clip() -> None:
    def literal(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.arcsin(
            (functional.normalize(a, dim=-1) - functional.normalize(b, dim=-1)).norm(dim=-1)
        ).square()

    for cosine in (0.2, 0.3, 0.49):
        assert torch.isnan(literal(*pair(cosine)))
        assert torch.isfinite(spherical(*pair(cosine)))
    assert not torch.isnan(literal(*pair(0.51)))
