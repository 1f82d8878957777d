"""Before any work: what loading the teachers and filling their prompts would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from compress.data.checks import listed
from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError
from compress.engine.preflight import Before, Check
from compress.teacher.heads.table import PROBE
from compress.teacher.loading import SOURCES, each_teacher, require_open_clip
from compress.teacher.named import known_names
from compress.teacher.priors import require_origin
from compress.teacher.prompts import check_templates, prompts_for
from compress.teacher.sources import TimmNet, has_text, locate
from compress.teacher.timm_net import label_set


def checks(before: Before) -> Iterator[Check]:
    """Teachers that can be loaded, a prompt for every class, and something to know it by."""
    for teacher in each_teacher(before.settings.teacher):
        if has_text(teacher.name):
            yield require_open_clip
        yield partial(_require, teacher)
    yield partial(_heads, before.settings.teacher)
    yield partial(_origins, before)
    if any(has_text(teacher.name) for teacher in each_teacher(before.settings.teacher)):
        yield partial(_prompts, before)


def image_only(settings: TeacherSettings) -> str | None:
    """The name of a teacher without texts, None if all have them."""
    names = (teacher.name for teacher in each_teacher(settings))
    return next((name for name in names if not has_text(name)), None)


def require_texts(settings: TeacherSettings, setting: str, remedy: str) -> None:
    """Raises ConfigError if a teacher has no texts, which ``setting`` needs.

    Args:
        setting: as a person would write it, e.g. "distill.objective=ld".
        remedy: another value of it.
    """
    if (name := image_only(settings)) is not None:
        raise ConfigError(
            f"{setting} needs the texts of a CLIP teacher",
            got=f"teacher {name}, which has none",
            remedy=f"{remedy}, or another --teacher",
        )


def _require(settings: TeacherSettings) -> None:
    source = locate(settings.name)
    require = SOURCES[type(source)].require
    if require is not None:
        require(source)


def _heads(settings: TeacherSettings) -> None:
    """Refuses heads that start from texts, for a teacher that has none."""
    if settings.heads != (PROBE,):
        remedy = "--set 'teacher.heads=[probe]'"
        require_texts(settings, f"teacher.heads=[{', '.join(settings.heads)}]", remedy)


def _origins(before: Before) -> None:
    """Refuses classes that an image-only teacher cannot know without shots; names one teacher."""
    source = before.once(listed)
    if source is None or before.settings.data.shots != 0:
        return
    for teacher in each_teacher(before.settings.teacher):
        network = locate(teacher.name)
        if isinstance(network, TimmNet):
            known = known_names(label_set(network), source.classes)
            require_origin(teacher.name, source.classes, known, np.zeros(len(source.classes), bool))


def _prompts(before: Before) -> None:
    templates = before.settings.teacher.templates
    check_templates(templates)
    source = before.once(listed)
    if source is not None:
        prompts_for(source.classes, templates)
