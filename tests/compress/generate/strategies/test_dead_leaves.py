"""Strategy dead-leaves: enough pictures for a run, of no class."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_sources import jobs, sources

from compress.engine.config import GenerateSettings
from compress.generate.dead_leaves import DeadLeaves
from compress.generate.strategies.dead_leaves import ENOUGH, DeadLeavesStrategy

SETTINGS = GenerateSettings(strategy="dead-leaves")


@pytest.mark.parametrize(("per_class", "expected"), [(300, -(-ENOUGH // 3)), (5, 5)])
def test_the_run_gets_enough_whatever_the_number_of_classes(per_class: int, expected: int) -> None:
    material = sources(0)
    assert len(material.classes) == 3
    settings = SETTINGS.model_copy(update={"per_class": per_class})
    assert DeadLeavesStrategy(settings, material).per_class() == expected


def test_an_image_depends_on_its_seed_and_not_on_its_batch() -> None:
    strategy = DeadLeavesStrategy(SETTINGS, sources(0))
    together = strategy.generate(jobs(), DeadLeaves())
    alone = strategy.generate(jobs()[2:3], DeadLeaves())
    np.testing.assert_array_equal(alone.images[0], together.images[2])
    assert alone.records[0] == together.records[2] and alone.records[0].method == "dead-leaves"
    assert together.conditions.shape == (len(jobs()), 0)
