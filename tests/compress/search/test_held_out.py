"""The settings of the held-out images."""

from __future__ import annotations

from compress.api import settings_for
from compress.search.held_out import fresh_settings


def test_held_out_images_are_generated_as_the_runs_own_with_another_seed() -> None:
    settings = settings_for("petals")
    fresh = fresh_settings(settings, {"strategy": "img2img", "steps": 3, "images": 64})
    assert (
        fresh.seed != settings.seed
        and fresh.generate.strategy == "img2img"
        and fresh.generate.steps == 3
    )
    assert (
        fresh.generate.probing.candidates == ()
        and fresh.generate.per_class == settings.budget.held_out
    )
    assert fresh.label.pools == ("synthetic",) and fresh.label.views == 1
    none = fresh_settings(settings, {"strategy": "none", "images": 0})
    assert none.label.pools == ("real",) and none.label.real_views == settings.budget.held_out
