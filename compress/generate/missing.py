"""Before any work: settings that the stage refuses, and weights that have to be placed by hand."""

from __future__ import annotations

from compress.engine.config import GenerateSettings, Settings
from compress.engine.errors import ConfigError
from compress.generate.generators.table import check_fits
from compress.generate.probing import candidates
from compress.generate.strategies.table import generates_images, strategy_row
from compress.generate.tools import TOOLS


def missing(run: Settings, online: bool) -> str | None:
    """What has to be placed by hand before images can be generated, over all candidates, or None.

    Raises:
        ConfigError: as `check`, or no such decoder.
    """
    check(run.generate)
    texts = []
    for candidate in candidates(run.generate):
        tool = strategy_row(candidate.strategy).tool
        if tool and generates_images(candidate):
            texts.append(TOOLS[tool].missing(candidate, online))
    return "\n  - ".join(dict.fromkeys(text for text in texts if text)) or None


def check(settings: GenerateSettings) -> None:
    """Refuses a generator that cannot do what the strategy needs; one candidate must fit.

    Raises:
        ConfigError: also for an unknown strategy, generator or override.
    """
    offered = candidates(settings)
    refused = []
    for candidate in offered:
        row = strategy_row(candidate.strategy)
        try:
            if row.tool == "generator" and generates_images(candidate):
                check_fits(candidate, row.needs)
        except ConfigError as error:
            refused.append(error)
    if len(refused) == len(offered):
        raise refused[0]
