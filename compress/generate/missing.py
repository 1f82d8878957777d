"""Before any work: settings that the stage refuses, and weights that have to be placed by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from compress.data.checks import listed
from compress.data.shots import no_image_at_all
from compress.data.split import Source
from compress.engine.config import GenerateSettings, Settings
from compress.engine.errors import ConfigError
from compress.engine.preflight import Before, Check
from compress.generate.generators.table import check_fits, check_settings
from compress.generate.inversion import decoders
from compress.generate.probing import candidates
from compress.generate.sources import Sources
from compress.generate.strategies.table import generates_images, load_strategy, strategy_row
from compress.generate.tools import TOOLS
from compress.teacher.checks import knows_by_name, require_named, require_texts


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


def checks(before: Before) -> Iterator[Check]:
    """A generator or decoder that fits, and a strategy that these classes and shots suffice for."""
    yield partial(_check_sources, before)
    yield partial(_check_empty, before)
    yield partial(_check_texts, before.settings)
    yield partial(_check_names, before)


def _check_empty(before: Before) -> None:
    """Refuses classes that nothing stands for: no image, given or made, no known name."""
    source = before.once(listed)
    if source is not None and source.empty:
        offered = candidates(before.settings.generate)
        shown = any(
            generates_images(one) and strategy_row(one.strategy).shows_classes for one in offered
        )
        if not shown and not set(source.empty) <= set(knows_by_name(before.settings, source)):
            raise no_image_at_all(source)


def _check_texts(settings: Settings) -> None:
    """Refuses a teacher without texts where images are made toward texts, or scored by them."""
    if settings.generate.probing.candidates:
        remedy = "--set generate.strategy=none"
        require_texts(settings.teacher, "generate.probing.candidates", remedy)
        return
    row = strategy_row(settings.generate.strategy)
    if row.asks_teacher and not row.asks_names:
        setting = f"generate.strategy={settings.generate.strategy}"
        require_texts(settings.teacher, setting, "--set generate.strategy=none")


def _check_names(before: Before) -> None:
    """Refuses names that no teacher was trained on, where images are made of such names."""
    settings = before.settings
    source = before.once(listed)
    for name in {one.strategy: None for one in candidates(settings.generate)}:
        if source is not None and strategy_row(name).asks_names:
            require_named(settings.teacher, source.classes, f"generate.strategy={name}")


def _check_sources(before: Before) -> None:
    source = before.once(listed)
    sources = None if source is None else expected_sources(source, before.settings)
    check(before.settings.generate, partial(_check_more, sources))


def _check_more(sources: Sources | None, candidate: GenerateSettings) -> None:
    """Refuses what loading the tool and making the first image would."""
    if strategy_row(candidate.strategy).tool == "generator":
        check_settings(candidate)
    elif strategy_row(candidate.strategy).tool == "decoder":
        decoders.check_size(candidate)
    if sources is not None:
        load_strategy(candidate, sources).check()


def expected_sources(source: Source, settings: Settings) -> Sources:
    """What a strategy will read, as far as it is known: classes and shots, of which none is read.

    It has no teacher and no pixels.
    """
    labels = source.train.labels
    if settings.data.shots != "all":
        counts = np.bincount(labels, minlength=len(source.classes))
        labels = np.repeat(np.arange(len(counts)), np.minimum(counts, settings.data.shots))
    pixels = np.broadcast_to(np.uint8(0), (len(labels), 1, 1, 3))
    keys = [""] * len(labels)
    nobody: Any = None
    templates = settings.teacher.templates
    return Sources(source.classes, pixels, labels, keys, settings.seed, nobody, templates)


def check(
    settings: GenerateSettings, more: Callable[[GenerateSettings], None] | None = None
) -> None:
    """Refuses a generator that cannot do what the strategy needs; one candidate must fit.

    Args:
        more: refuses further candidates, by the same errors.

    Raises:
        ConfigError: also for an unknown strategy, generator or override.
    """
    offered = candidates(settings)
    refused = []
    for candidate in offered:
        row = strategy_row(candidate.strategy)
        try:
            if not generates_images(candidate):
                continue
            if row.tool == "generator":
                check_fits(candidate, row.needs)
            if more is not None:
                more(candidate)
        except ConfigError as error:
            refused.append(error)
    if len(refused) == len(offered):
        raise refused[0]
