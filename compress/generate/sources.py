"""What a strategy can read of a run: class names, shots and the teacher, never test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.data.artifact import DataArtifact
from compress.data.split import ClassInfo
from compress.engine.stage import StageContext
from compress.generate.shot_embeds import ShotEmbeds
from runtime import Geometry

if TYPE_CHECKING:
    from compress.teacher.clip import ClipTeacher
    from compress.teacher.teacher import Teacher


@dataclass
class Sources:
    """Classes, shots and teacher of a run.

    Attributes:
        shots: ``(n, C, C, 3)`` uint8.
        labels: ``(n,)``.
        keys: the name of each shot, as written to the records.
        teacher: loads the run's teacher, one with texts, on the first call.
        templates: prompt templates of the run's teacher.
        cache: folder for the generator's embeddings of the shots; None: in memory only.
        networks: loads the run's teachers, with texts or without, on the first call.
    """

    classes: Sequence[ClassInfo]
    shots: NDArray[np.uint8]
    labels: NDArray[np.int64]
    keys: Sequence[str]
    seed: int
    teacher: Callable[[], ClipTeacher]
    templates: Sequence[str] = ()
    cache: Path | None = None
    networks: Callable[[], Teacher] | None = None

    @property
    def geometry(self) -> Geometry:
        """How synthetic images are resized: to the edge of the data stage's images."""
        return Geometry(self.shots.shape[1], self.shots.shape[1], "bicubic")

    @cached_property
    def members(self) -> list[NDArray[np.int64]]:
        """For each class the rows of its shots."""
        return [np.flatnonzero(self.labels == class_id) for class_id in range(len(self.classes))]

    @cached_property
    def shot_embeds(self) -> ShotEmbeds:
        """The generator's embeddings of the shots, shared by all strategies."""
        return ShotEmbeds(self.shots, self.cache)

    def classes_without_shots(self) -> list[str]:
        """Names of classes that have no shot."""
        rows = zip(self.classes, self.members, strict=True)
        return [entry.name for entry, members in rows if not len(members)]


def read_sources(ctx: StageContext) -> Sources:
    """The run's sources; no test image of the data stage is opened."""
    data = DataArtifact(ctx.inputs["data"].path)
    settings = ctx.settings

    @cache
    def teacher() -> ClipTeacher:
        from compress.teacher.loading import load_clip

        return load_clip(settings.teacher, ctx.host.device, offline=settings.data.offline)

    @cache
    def networks() -> Teacher:
        from compress.teacher.loading import load_for

        return load_for(ctx)

    return Sources(
        data.classes,
        data.shots.pixels,
        data.shots.labels,
        data.shots.keys,
        ctx.seed,
        teacher,
        settings.teacher.templates,
        ctx.partial,
        networks,
    )
