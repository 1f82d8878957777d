"""Before any work: what loading the teacher and filling its prompts would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from compress.data.checks import listed
from compress.engine.config import TeacherSettings
from compress.engine.preflight import Before, Check
from compress.teacher.loading import SOURCES, require_open_clip
from compress.teacher.prompts import check_templates, prompts_for
from compress.teacher.sources import locate


def checks(before: Before) -> Iterator[Check]:
    """A teacher that can be loaded, and a prompt for every class."""
    yield require_open_clip
    yield partial(_require, before.settings.teacher)
    yield partial(_prompts, before)


def _require(settings: TeacherSettings) -> None:
    source = locate(settings.name)
    require = SOURCES[type(source)].require
    if require is not None:
        require(source)


def _prompts(before: Before) -> None:
    templates = before.settings.teacher.templates
    check_templates(templates)
    source = before.once(listed)
    if source is not None:
        prompts_for(source.classes, templates)
