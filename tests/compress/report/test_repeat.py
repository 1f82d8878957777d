"""The command that repeats a run."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from compress import api
from compress.engine import config
from compress.report import repeat


@pytest.mark.parametrize(
    "options",
    [
        {"dataset": "petals", "shots": 4},
        {"dataset": "petals", "shots": 1, "seed": 3, "preset": "smoke"},
        {"dataset": "flowers", "shots": 8, "preset": "sidclip"},
        {"dataset": "petals", "overrides": {"distill": {"lr": 1e-5}, "data": {"style": "night"}}},
        {
            "data": "/photos/my flowers",
            "shots": 2,
            "teacher": "ViT-B-32/openai",
            "student": "resnet18",
        },
        {"data": "/photos", "teacher": "petals", "offline": True},
        {"classes": ["water lily", "taco's"], "teacher": "petals"},
        {"dataset": "cifar10", "teacher": "petals", "generator": "petals"},
        {
            "dataset": "pacs",
            "overrides": {"data": {"shots": "all", "domain": "sketch", "test_domains": ["all"]}},
        },
    ],
)
def test_the_command_repeats_the_settings(options: dict[str, Any]) -> None:
    """Parsed as the command line parses it, it resolves to the very same settings."""
    settings = api.settings_for(**options)
    words = shlex.split(repeat.command(settings))
    assert words[:2] == ["compress", "build"]
    given: dict[str, Any] = {}
    assignments, rest = [], words[2:]
    while rest:
        flag = rest.pop(0).removeprefix("--")
        if flag == "offline":
            given["offline"] = True
        elif flag == "set":
            assignments.append(rest.pop(0))
        else:
            given[flag] = rest.pop(0)
    for number in ("shots", "seed"):
        if given.get(number, "all") != "all":
            given[number] = int(given[number])
    if "classes" in given:
        given["classes"] = given["classes"].split(",")
    again = api.settings_for(**given, overrides=config.parse_set(assignments))
    assert again == settings


def test_the_plain_run_has_a_plain_command() -> None:
    settings = api.settings_for("petals", shots=4)
    assert repeat.command(settings) == "compress build --shots 4 --dataset petals"


def test_the_preset_is_the_one_that_explains_most() -> None:
    assert repeat.preset(api.settings_for("petals")) == (None, 0)
    assert repeat.preset(api.settings_for("petals", preset="smoke")) == ("smoke", 0)
    changed = api.settings_for("petals", preset="smoke", overrides={"distill": {"lr": 1e-5}})
    assert repeat.preset(changed) == ("smoke", 1)
