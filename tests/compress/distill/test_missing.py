"""Settings that the distill stage refuses before any image is generated."""

from __future__ import annotations

import pytest

from compress.api import settings_for
from compress.distill.missing import check_styles
from compress.engine.config import preset_names
from compress.engine.errors import ConfigError
from compress.generate.missing import check as check_generators


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("dataset", ["petals", "flowers"])
def test_every_preset_has_a_generator_that_fits_and_styles_for_its_meta_steps(
    name: str, dataset: str
) -> None:
    settings = settings_for(dataset, preset=name)
    check_generators(settings.generate)
    check_styles(settings)


@pytest.mark.parametrize(
    "generate",
    [{"strategy": "sidclip"}, {"strategy": "inversion", "prompts": {"kind": "prototypes"}}],
)
def test_meta_steps_without_styles_are_refused_before_any_image(generate: dict) -> None:
    overrides = {"generate": generate, "distill": {"meta": {"mode": "first_order"}}}
    with pytest.raises(ConfigError, match="meta steps compare styles"):
        check_styles(settings_for("petals", overrides=overrides))
