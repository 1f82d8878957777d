"""How long and on what a student trains."""

from __future__ import annotations

from compress.distill.schedule import feature_steps_for, parts_of_batch, stays_frozen, steps_for
from compress.engine.config import DistillSettings


def test_only_a_head_without_feature_phase_stays_frozen() -> None:
    assert stays_frozen(DistillSettings(train="head"))
    assert not stays_frozen(DistillSettings(train="head", feature_steps=5))
    assert not stays_frozen(DistillSettings())


def test_epochs_replace_steps_and_round_up() -> None:
    assert steps_for(DistillSettings(steps=7), images=1000) == 7
    assert steps_for(DistillSettings(epochs=1.5, batch=100), images=1000) == 15
    assert steps_for(DistillSettings(epochs=1, batch=128), images=129) == 2
    assert steps_for(DistillSettings(epochs=1, batch=128), images=0) == 1


def test_a_feature_phase_is_a_number_or_a_share_of_the_updates() -> None:
    assert feature_steps_for(DistillSettings(feature_steps=30), 100) == 30
    assert feature_steps_for(DistillSettings(feature_steps=30, feature_share=0.5), 101) == 50
    assert feature_steps_for(DistillSettings(feature_share=0.0), 100) == 0
    assert not stays_frozen(DistillSettings(train="head", feature_share=0.5))
    assert stays_frozen(DistillSettings(train="head", feature_steps=5, feature_share=0.0))


def test_a_batch_is_shared_only_where_there_are_both_kinds_of_images() -> None:
    settings = DistillSettings(batch=10, real_fraction=0.3)
    assert parts_of_batch(settings, True, True) == (3, 7)
    assert parts_of_batch(settings, True, False) == (10, 0)
    assert parts_of_batch(settings, False, True) == (0, 10)
