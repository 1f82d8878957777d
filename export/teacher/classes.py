"""The classes of a teacher's bundle: names on the command line, a student's bundle, or a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compress.data.artifact import DataArtifact
from compress.data.class_names import class_name, look_alike, refuse_names
from compress.data.split import ClassInfo
from compress.engine.config import TeacherSettings
from compress.engine.errors import ConfigError
from compress.engine.runs import RunFolder
from export.bundle.files import PROVENANCE
from runtime.bundle import LABELS, open_bundle


@dataclass(frozen=True)
class TeacherClasses:
    """The classes of a teacher, the templates of their prompts, and where the names come from."""

    infos: tuple[ClassInfo, ...]
    templates: tuple[str, ...]
    source: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Name, prompt and category of each class, for labels.json."""
        return [asdict(info) for info in self.infos]


def teacher_classes(
    names: Sequence[str] | None, student: Path | None, run: RunFolder | None
) -> TeacherClasses:
    """The classes of exactly one source; a run may have a student's bundle beside it.

    Raises:
        ConfigError: no source, too many, or names that are not distinct.
    """
    sources = {"class names": names, "a bundle": student, "a run": run}
    given = [what for what, value in sources.items() if value is not None]
    if len(given) != 1 and not (run is not None and len(given) == 2):
        options = '--classes "rose,iris", --classes-file FILE, --classes-from BUNDLE'
        expected = f"one of {options}, or the folder of a run"
        got = " and ".join(given) or "none"
        raise ConfigError("a teacher's classes", got=got, expected=expected)
    if run is not None:
        if names is not None:
            what = "a run's teacher has its classes"
            raise ConfigError(what, got="class names", expected="none of them")
        templates = tuple(run.layer()["teacher"]["templates"])
        return TeacherClasses(DataArtifact(run.path / "data").classes, templates, "its run")
    if student is not None:
        labels = open_bundle(student).labels
        rows = json.loads(
            (student / LABELS).read_text(encoding="utf-8")
        )  # a row may be a plain name
        categories = [row.get("category") if isinstance(row, dict) else None for row in rows]
        infos = tuple(
            ClassInfo(label.name, label.prompt or label.name, category)
            for label, category in zip(labels, categories, strict=True)
        )
        file = student / PROVENANCE
        settings = (
            json.loads(file.read_text(encoding="utf-8")).get("settings", {})
            if file.is_file()
            else {}
        )
        own = settings.get("teacher", {}).get("templates") or TeacherSettings().templates
        return TeacherClasses(infos, tuple(own), "a student's bundle")
    given = [class_name(name) for name in names or ()]
    distinct = {look_alike(name) for name in given}
    if not given or len(distinct) != len(given):
        got = f"{len(given)} names, {len(distinct)} of them distinct"
        raise ConfigError("class names", got=got, expected="distinct names")
    refuse_names({name: name for name in given}, "the list of classes")
    infos = tuple(ClassInfo(name, name) for name in given)
    return TeacherClasses(infos, TeacherSettings().templates, "names given")
