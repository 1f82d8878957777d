"""The table of strategies: complete, true and readable without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from compress.engine.config import GenerateSettings, PromptSettings
from compress.engine.errors import ConfigError
from compress.engine.stage import resolve
from compress.generate.inversion.prompt_targets import PROMPT_TARGETS
from compress.generate.strategies.table import (
    STRATEGIES,
    generates_images,
    has_styles,
    strategy_row,
)
from compress.generate.tools import TOOLS


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_row_leads_to_a_strategy_and_a_tool(name: str) -> None:
    row = STRATEGIES[name]
    strategy = resolve(row.strategy)
    assert all(hasattr(strategy, part) for part in ("per_class", "generate", "facts"))
    assert row.tool is None or row.tool in TOOLS
    assert not row.needs or row.tool == "generator", "only generators differ in what they take"


def test_an_unknown_strategy_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'sidclip'"):
        strategy_row("sidclp")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, True),
        ({"per_class": 0}, False),
        ({"strategy": "none"}, False),
        ({"per_class": 0, "synth_ratio": 0.5}, True),
        ({"per_class": 3, "synth_ratio": 0.0}, False),
    ],
)
def test_the_amount_and_the_strategy_decide_whether_images_are_generated(
    settings: dict[str, object], expected: bool
) -> None:
    assert generates_images(GenerateSettings(**settings)) is expected


def test_images_have_styles_if_they_follow_prompts_with_styles() -> None:
    styled = {
        (name, kind)
        for name in STRATEGIES
        for kind in PROMPT_TARGETS
        if has_styles(GenerateSettings(strategy=name, prompts=PromptSettings(kind=kind)))
    }
    assert styled == {("inversion", kind) for kind in ("mix", "contrastive", "words", "learned")}


def test_the_tables_are_read_without_torch() -> None:
    code = (
        "import sys, compress.generate.tools, compress.generate.missing; "
        "assert not {'torch', 'diffusers', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
