"""Images decoded from the embeddings of the run's own shots.

"img2img" of Sasaki, Sakai and Hasegawa (IPSJ National Convention 2025), figure 1 B. Image j of a
class comes from the class's shot ``j mod n``, so the numbers of images per shot differ by one at
most. The stored condition is the shot's raw embedding before any noise: what condition prediction
(CP) predicts.
"""

from __future__ import annotations

from collections.abc import Sequence

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.seeds import derive
from compress.generate.generators.generator import Generator
from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.sources import Sources
from compress.generate.strategies.strategy import Strategy


class ImageToImage(Strategy):
    """The strategy; refuses a class without shots."""

    def __init__(self, settings: GenerateSettings, sources: Sources) -> None:
        super().__init__(settings, sources)
        without = sources.classes_without_shots()
        if without:
            raise ConfigError(
                "strategy img2img makes images from shots",
                got=f"none of {', '.join(without[:8])}",
                expected="at least one shot of every class",
                remedy="give --shots 1 or more, or use strategy cls2img",
            )

    def generate(self, jobs: Sequence[Job], tool: Generator) -> GeneratedBatch:
        """Decodes one batch of jobs."""
        members = [self.sources.members[job.class_id] for job in jobs]
        rows = [int(own[job.number % len(own)]) for job, own in zip(jobs, members, strict=True)]
        conditions = self.sources.shot_embeds.of(tool, self.settings.batch)[rows]
        seeds = [derive(job.seed, "decode") for job in jobs]
        images = tool.decode(conditions, seeds, self.sampling)
        records = [
            job.record(
                "img2img",
                tool.name,
                source_ids=(self.sources.keys[row],),
                weights=(1.0,),
                noise_level=self.sampling.noise_level,
                cond_embedding_ref=job.condition_ref,
            )
            for job, row in zip(jobs, rows, strict=True)
        ]
        return GeneratedBatch(images, conditions, records)
