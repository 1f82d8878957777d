"""Images from class names alone: prompt templates, a text-to-image generator.

"cls2img" of Sasaki, Sakai and Hasegawa (IPSJ National Convention 2025), figure 1 A.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.seeds import derive, numpy_rng
from compress.generate.generators.generator import Generator
from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.sources import Sources
from compress.generate.strategies.strategy import Strategy
from compress.teacher.prompts import prompts_for


class ClassToImage(Strategy):
    """The strategy; refuses a noise level, which only image embeddings can have."""

    def __init__(self, settings: GenerateSettings, sources: Sources) -> None:
        if settings.noise_level:
            raise ConfigError(
                "strategy cls2img has no image embedding to add noise to",
                got=f"noise_level={settings.noise_level}",
                expected="generate.noise_level=0",
                remedy="strategy img2img takes a noise level",
            )
        super().__init__(settings, sources)
        self.prompts = prompts_for(sources.classes, settings.templates)

    def facts(self) -> dict[str, object]:
        """The templates."""
        return {"templates": list(self.settings.templates)}

    def generate(self, jobs: Sequence[Job], tool: Generator) -> GeneratedBatch:
        """Draws one batch of jobs."""
        prompts = []  # one of the class's, drawn for each image
        for job in jobs:
            offered = self.prompts[job.class_id]
            prompts.append(offered[int(numpy_rng(job.seed, "template").integers(len(offered)))])
        seeds = [derive(job.seed, "draw") for job in jobs]
        images = tool.draw(prompts, seeds, self.sampling)
        records = [
            job.record("cls2img", tool.name, prompt=prompt)
            for job, prompt in zip(jobs, prompts, strict=True)
        ]
        return GeneratedBatch(images, np.empty((len(jobs), 0), np.float32), records)
