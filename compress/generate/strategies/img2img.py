"""Images decoded from the embeddings of the run's own shots (methods.md A.2, "img2img").

Image j of a class comes from the class's shot ``j mod n``: every shot gives as many images as any
other, to one. The condition that is kept is the shot's raw embedding, before any noise: it is what
condition prediction (CP) predicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.seeds import derive
from compress.generate.base import (
    Generator,
    Input,
    Job,
    Made,
    Sources,
    SynthRecord,
    wanted_per_class,
)


class ImageToImage:
    """The strategy.

    Args:
        settings: ``per_class`` or ``synth_ratio``, ``noise_level``, ``steps``, ``guidance_scale``,
            ``batch``.
        sources: the run's shots.

    Raises:
        ConfigError: a class without shots.
    """

    tool: ClassVar[Literal["generator", "decoder"]] = "generator"
    needs: ClassVar[frozenset[Input]] = frozenset({"image"})
    asks_teacher: ClassVar[bool] = False

    def __init__(self, settings: GenerateSettings, sources: Sources) -> None:
        self.settings, self.sources = settings, sources
        without = [
            str(row["name"])
            for row, own in zip(sources.classes, sources.members, strict=True)
            if not len(own)
        ]
        if without:
            raise ConfigError(
                "strategy img2img makes images from shots",
                got=f"none of {', '.join(without[:8])}",
                expected="at least one shot of every class",
                remedy="give --shots 1 or more, or use strategy cls2img",
            )

    def per_class(self) -> int:
        """As set."""
        return wanted_per_class(self.settings, self.sources)

    def facts(self) -> dict[str, Any]:
        """Nothing beyond what every strategy states."""
        return {}

    def make(self, jobs: Sequence[Job], tool: Generator) -> Made:
        """Decodes one batch of jobs."""
        settings, rows = self.settings, [self.source_row(job) for job in jobs]
        conditions = self.sources.shot_embeds.of(tool, settings.batch)[rows]
        seeds = [derive(job.seed, "decode") for job in jobs]
        images = tool.decode(
            conditions, seeds, settings.steps, settings.guidance_scale, settings.noise_level
        )
        records = [self._record(job, row, tool) for job, row in zip(jobs, rows, strict=True)]
        return Made(np.asarray(images), conditions, records)

    def source_row(self, job: Job) -> int:
        """The shot an image is made from, as a row of the run's shots."""
        members = self.sources.members[job.class_id]
        return int(members[job.number % len(members)])

    def _record(self, job: Job, row: int, generator: Generator) -> SynthRecord:
        return SynthRecord(
            path=f"synthetic.npy#{job.index}",
            class_id=job.class_id,
            method="img2img",
            prompt=None,
            style_id=None,
            source_ids=(self.sources.keys[row],),
            weights=(1.0,),
            seed=job.seed,
            generator_id=generator.name,
            noise_level=self.settings.noise_level,
            cond_embedding_ref=f"conditions.npy#{job.index}",
        )
