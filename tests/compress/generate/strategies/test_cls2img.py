"""Strategy cls2img: prompts from templates, no shots."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_sources import Echo, jobs, sources

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.generate.strategies.cls2img import ClassToImage

TEMPLATES = (
    "a photo of a(n) {}",
    "the {}[, a type of {category}]",
    "a painting of a {category}, {}",
)


def test_each_image_has_a_template_of_its_own_and_its_class() -> None:
    generator, material = Echo(), sources(2)
    made = ClassToImage(GenerateSettings(templates=TEMPLATES), material).generate(
        jobs(numbers=20), generator
    )
    assert generator.texts == [record.prompt for record in made.records]
    for job, record in zip(jobs(numbers=20), made.records, strict=True):
        name = f"name {job.class_id}"
        assert record.prompt in (f"a photo of a {name}", f"the {name}"), (
            "a template without its category is left out"
        )
        assert (record.class_id, record.source_ids, record.cond_embedding_ref) == (
            job.class_id,
            (),
            None,
        )
    assert len({record.prompt for record in made.records}) == 6
    assert made.conditions.shape == (60, 0)
    assert not generator.seen, "no shot is looked at"


def test_an_image_does_not_depend_on_its_batch() -> None:
    strategy = ClassToImage(GenerateSettings(templates=TEMPLATES), sources(0))
    together, alone = strategy.generate(jobs(), Echo()), strategy.generate(jobs()[7:8], Echo())
    np.testing.assert_array_equal(alone.images[0], together.images[7])
    assert alone.records[0] == together.records[7]


def test_what_cannot_be_filled_or_noised_is_refused() -> None:
    with pytest.raises(ConfigError, match="no place for the class"):
        ClassToImage(GenerateSettings(templates=("a flower",)), sources(0))
    with pytest.raises(ConfigError, match="no image embedding to add noise to"):
        ClassToImage(GenerateSettings(noise_level=10), sources(0))
