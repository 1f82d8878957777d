"""Strategy mix: shares, turns, and images that are those of the parts."""

from __future__ import annotations

import typing
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tiny_sources import Echo, jobs, sources

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.generate.strategies.mix import PARTS, Mix
from compress.generate.strategies.table import STRATEGIES, strategy_row


def mix(shots: int = 3, **shares: float) -> Mix:
    settings = GenerateSettings(strategy="mix", **({"shares": shares} if shares else {}))
    return Mix(settings, sources(shots))


def test_the_names_of_shares_are_strategies_that_one_generator_makes() -> None:
    names, _ = typing.get_args(GenerateSettings.model_fields["shares"].annotation)
    assert set(typing.get_args(names)) == set(PARTS) == set(GenerateSettings().shares)
    for name, part in PARTS.items():
        row = STRATEGIES[name]
        assert row.strategy.endswith(f":{part.__name__}") and row.tool == "generator"
        assert row.needs <= strategy_row("mix").needs


def test_every_prefix_has_the_shares() -> None:
    mixed = mix(sidclip=2.0, img2img=1.0, cls2img=0.0)
    names = [mixed.turn(number)[0] for number in range(30)]
    assert "cls2img" not in names
    for end in range(1, 31):
        assert abs(names[:end].count("sidclip") - 2 * end / 3) < 1
    for name in ("sidclip", "img2img"):
        own = [mixed.turn(number)[1] for number in range(30) if names[number] == name]
        assert own == list(range(len(own)))


def test_an_image_is_that_of_its_strategy_in_turn_and_records_say_which() -> None:
    mixed, drawn = mix(), jobs(numbers=9)
    made = mixed.generate(drawn, Echo())
    assert made.conditions.shape == (27, 0)
    assert Counter(record.method for record in made.records) == dict.fromkeys(PARTS, 9)
    for place, job in enumerate(drawn):
        name, number = mixed.turn(job.number)
        part = PARTS[name](mixed.settings, sources(3))
        alone = part.generate([replace(job, number=number)], Echo())
        np.testing.assert_array_equal(made.images[place], alone.images[0])
        assert made.records[place] == replace(alone.records[0], cond_embedding_ref=None)
    used = {r.source_ids for r in made.records if r.method == "img2img" and r.class_id == 0}
    assert len(used) == 3, "all shots take turns, although only every third image is made from one"


def test_an_image_does_not_depend_on_its_batch() -> None:
    together, alone = mix().generate(jobs(), Echo()), mix().generate(jobs()[7:8], Echo())
    np.testing.assert_array_equal(alone.images[0], together.images[7])
    assert alone.records[0] == together.records[7]


def test_what_a_part_refuses_is_refused_unless_its_share_is_zero() -> None:
    with pytest.raises(ConfigError, match="strategy img2img makes images from shots"):
        mix(shots=0)
    assert set(mix(shots=0, img2img=0.0, sidclip=1.0, cls2img=1.0).parts) == {"sidclip", "cls2img"}
    with pytest.raises(ConfigError, match="nothing to mix"):
        mix(sidclip=0.0)
