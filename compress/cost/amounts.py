"""Classes and images of a build, as far as they are known before the data stage runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.data.checks import listed
from compress.data.datasets.catalog import dataset
from compress.data.split import ClassInfo
from compress.engine.config import GenerateSettings, Settings
from compress.engine.errors import Clip2EdgeError, ConfigError
from compress.engine.store import Facts
from compress.generate.missing import expected_sources
from compress.generate.probing import candidates
from compress.generate.sources import Sources
from compress.generate.strategies.table import generates_images, load_strategy

UNKNOWN_SHOTS = "the data stage counts the real images; here without them"
UNKNOWN_CLASSES = "the data stage counts the classes; here of one class alone"


@dataclass(frozen=True)
class Amounts:
    """How much there is.

    Attributes:
        classes: K.
        shots: real training images of all classes.
        tests: images of the test split and of further domains; None: not known yet.
        per_class: nothing is known of the classes: all figures are those of one class.
        notes: what is not known.
    """

    classes: int
    shots: int
    tests: int | None = None
    per_class: bool = False
    notes: tuple[str, ...] = ()


def known_amounts(settings: Settings, facts: Facts | None = None) -> Amounts:
    """What lists, catalog and settings say; no image is opened, nothing is downloaded.

    Args:
        facts: of the finished data stage, if there is one.
    """
    if facts is not None:
        tests = facts["test_images"] + sum(facts["domains"].values())
        return Amounts(facts["classes"], facts["train_images"], tests)
    try:
        source = listed(settings)
    except Clip2EdgeError:  # the build itself will say what is wrong
        source = None
    limit = settings.data.test_limit
    if source is not None:
        shots = len(expected_sources(source, settings).labels)
        splits = (source.test, *source.others.values())
        tests = sum(min(len(split), limit or len(split)) for split in splits)
        return Amounts(len(source.classes), shots, tests)
    name = settings.data.dataset
    classes = dataset(name).classes if name else 1
    each = settings.data.shots
    notes = () if name else (UNKNOWN_CLASSES,)
    if each == "all":
        return Amounts(classes, 0, None, not name, (*notes, UNKNOWN_SHOTS))
    return Amounts(classes, classes * each, None, not name, notes)


def sources_of(amounts: Amounts, settings: Settings) -> Sources:
    """What a strategy reads of a run with these amounts, without pixels."""
    infos = [ClassInfo(f"class {number}", f"class {number}") for number in range(amounts.classes)]
    labels = np.arange(amounts.shots) % max(1, amounts.classes)
    pixels = np.broadcast_to(np.uint8(0), (amounts.shots, 1, 1, 3))
    nobody: Any = None
    return Sources(infos, pixels, np.sort(labels), [""] * amounts.shots, settings.seed, nobody)


def possible(settings: Settings, amounts: Amounts) -> dict[int, tuple[GenerateSettings, int]]:
    """Position -> the settings that images may be generated with, and the number of images.

    Probing chooses one of several; a candidate that cannot be made is left out, as there.
    """
    sources = sources_of(amounts, settings)
    found = {}
    for position, candidate in enumerate(candidates(settings.generate)):
        if not generates_images(candidate):
            continue
        try:
            each = load_strategy(candidate, sources).per_class()
        except ConfigError:  # img2img without shots, for one
            continue
        found[position] = (candidate, each * amounts.classes)
    return found
