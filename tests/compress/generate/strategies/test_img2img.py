"""Strategy img2img: which shot an image is made from, and that it is encoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_sources import Echo, jobs, sources

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.generate.strategies.img2img import ImageToImage
from compress.generate.strategies.sidclip import Sidclip


@pytest.mark.parametrize("shots", [1, 2, 3])
def test_shots_take_turns(shots: int) -> None:
    material = sources(shots)
    made = ImageToImage(GenerateSettings(), material).generate(jobs(numbers=7), Echo())
    embeds = Echo().embed_images(material.shots)
    for job, record, condition in zip(jobs(numbers=7), made.records, made.conditions, strict=True):
        row = job.class_id * shots + job.number % shots
        assert record.source_ids == (material.keys[row],)
        assert material.labels[row] == record.class_id
        np.testing.assert_array_equal(condition, embeds[row])
    used = [record.source_ids[0] for record in made.records]
    counts = [used.count(key) for key in material.keys]
    assert max(counts) - min(counts) <= 1, "as often as any other, to one"
    assert {record.weights for record in made.records} == {(1.0,)}


def test_the_condition_is_the_embedding_before_any_noise() -> None:
    made = [
        ImageToImage(GenerateSettings(noise_level=n), sources(2)).generate(jobs(), Echo())
        for n in (0, 500)
    ]
    np.testing.assert_array_equal(made[0].conditions, made[1].conditions)
    assert [part.records[0].noise_level for part in made] == [0, 500]


def test_an_image_does_not_depend_on_its_batch() -> None:
    strategy = ImageToImage(GenerateSettings(), sources(4))
    together, alone = strategy.generate(jobs(), Echo()), strategy.generate(jobs()[7:8], Echo())
    np.testing.assert_array_equal(alone.images[0], together.images[7])
    assert alone.records[0] == together.records[7]


def test_a_class_without_shots_is_named() -> None:
    material = sources(2)
    material.labels[material.labels == 1] = 0
    with pytest.raises(
        ConfigError, match="got none of c1 · expected at least one shot of every class"
    ):
        ImageToImage(GenerateSettings(), material)


def test_strategies_share_the_embeddings_of_the_shots_in_memory_and_on_disk(tmp_path: Path) -> None:
    generator, material = Echo(), sources(3, cache=tmp_path)
    settings = GenerateSettings(batch=4)
    for kind in (ImageToImage, Sidclip):
        kind(settings, material).generate(jobs(), generator)
    assert [len(batch) for batch in generator.seen] == [4, 4, 1]
    assert material.shot_embeds.encoder_images() == 9
    later, again = Echo(), sources(3, cache=tmp_path)
    first, second = (
        ImageToImage(settings, m).generate(jobs(), g)
        for m, g in ((material, generator), (again, later))
    )
    np.testing.assert_array_equal(first.images, second.images)
    assert not later.seen
    assert again.shot_embeds.encoder_images() == 9
    other = Echo()
    other.name = "another"
    ImageToImage(settings, again).generate(jobs(), other)
    assert again.shot_embeds.encoder_images() == 18, "another generator has another space"
