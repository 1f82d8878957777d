"""SIDCLIP: the mixer is linear, the weights are the paper's, and no foreign shot leaks in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_sources import Echo, jobs, sources

from compress.engine.config import GenerateSettings
from compress.generate.strategies.sidclip import WEIGHTS, Sidclip, mix, weights_for


def test_the_weights_of_the_paper() -> None:
    assert [weights_for(k) for k in (0, 1, 2, 4, 8)] == [
        (1.0,),
        (0.4, 0.6),
        (0.2, 0.4, 0.4),
        (0.2, 0.4, 0.4),
        (0.2, 0.4, 0.4),
    ]
    assert all(abs(sum(row) - 1) < 1e-12 for row in WEIGHTS.values())


@pytest.mark.parametrize(
    "weights", [(0.5, 0.6), (1.2, -0.2), (1.0,), (0.4, 0.3, 0.3), (float("nan"), 1.0)]
)
def test_weights_that_are_no_mixture_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        mix(np.ones((2, 3), np.float32), weights)


@given(st.integers(0, 10**6), st.floats(-4, 4, allow_nan=False))
def test_mixing_is_linear_and_permutes(seed: int, a: float) -> None:
    rng = np.random.default_rng(seed)
    e, f = rng.normal(size=(2, 3, 5)).astype(np.float32)
    w = rng.dirichlet(np.ones(3))
    np.testing.assert_allclose(mix(a * e + f, w), a * mix(e, w) + mix(f, w), atol=1e-5)
    order = rng.permutation(3)
    np.testing.assert_allclose(mix(e[order], w[order]), mix(e, w), atol=1e-6)


def test_one_image_with_weight_one_comes_back_exactly() -> None:
    e = np.random.default_rng(0).normal(size=(1, 9)).astype(np.float32)
    np.testing.assert_array_equal(mix(e, [1.0]), e[0])


@pytest.mark.parametrize("shots", [0, 1, 2, 4])
def test_records_name_only_the_classes_own_shots(shots: int) -> None:
    """No leak: sources are shots of the run, of the image's class, and as many as the weights
    say.
    """
    material, generator = sources(shots), Echo()
    made = Sidclip(GenerateSettings(), material).generate(jobs(), generator)
    for job, record in zip(jobs(), made.records, strict=True):
        own = {material.keys[row] for row in material.members[job.class_id]}
        assert set(record.source_ids) <= own
        assert len(record.source_ids) == len(set(record.source_ids)) == len(record.weights) - 1
        assert record.prompt == f"name {job.class_id}"
        assert record.class_id == job.class_id
    assert {row.tobytes() for batch in generator.seen for row in batch} <= {
        row.tobytes() for row in material.shots
    }
    assert made.images.shape == (18, 4, 4, 3)


def test_conditions_are_the_mix_that_the_records_state() -> None:
    material, generator = sources(4), Echo()
    made = Sidclip(GenerateSettings(), material).generate(jobs(), generator)
    texts = Echo().embed_texts([""] * 18, generator.prior_seeds[0])
    for text, record, condition in zip(texts, made.records, made.conditions, strict=True):
        rows = [material.keys.index(key) for key in record.source_ids]
        expected = 0.2 * text + 0.4 * sum(
            material.shots[row].reshape(-1)[:6].astype(float) for row in rows
        )
        np.testing.assert_allclose(condition, expected, rtol=1e-5)


def test_a_pair_of_shots_is_drawn_per_image_or_per_class() -> None:
    material = sources(8)
    drawn = {
        mode: {
            r.source_ids
            for r in Sidclip(GenerateSettings(pair_mode=mode), material)
            .generate(jobs(), Echo())
            .records
        }
        for mode in ("fixed", "resample")
    }
    assert len(drawn["fixed"]) == 3, "one pair per class"
    assert len(drawn["resample"]) > 9


def test_the_prior_is_drawn_per_image_or_per_class() -> None:
    seeds = {}
    for per_image in (True, False):
        generator = Echo()
        Sidclip(GenerateSettings(prior_per_image=per_image), sources(1)).generate(jobs(), generator)
        seeds[per_image] = set(generator.prior_seeds[0])
    assert len(seeds[True]) == 18
    assert len(seeds[False]) == 3


def test_an_image_does_not_depend_on_its_batch() -> None:
    material = sources(4)
    together = Sidclip(GenerateSettings(), material).generate(jobs(), Echo())
    alone = Sidclip(GenerateSettings(), material).generate(jobs()[7:8], Echo())
    np.testing.assert_array_equal(alone.images[0], together.images[7])
    assert alone.records[0] == together.records[7]


def test_the_noise_level_reaches_the_generator_and_the_record() -> None:
    generator = Echo()
    made = Sidclip(GenerateSettings(noise_level=70), sources(1)).generate(jobs(), generator)
    assert generator.noise_levels == [70]
    assert {record.noise_level for record in made.records} == {70}
