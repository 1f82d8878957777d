"""Images from class names alone: a prompt template, a text-to-image generator (methods.md A.2,
"cls2img").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from compress.engine.config import GenerateSettings
from compress.engine.errors import ConfigError
from compress.engine.seeds import derive, numpy_rng
from compress.generate.base import (
    Generator,
    Input,
    Job,
    Made,
    Sources,
    SynthRecord,
    wanted_per_class,
)
from compress.teacher.prompts import expand_all


class ClassToImage:
    """The strategy; the conditions of its images have width 0.

    Args:
        settings: ``per_class`` or ``synth_ratio``, ``templates``, ``steps``, ``guidance_scale``.
        sources: the class names; shots are only counted.

    Raises:
        ConfigError: a template that cannot be filled, or a noise level, which only image embeddings
            can have.
    """

    tool: ClassVar[Literal["generator", "decoder"]] = "generator"
    needs: ClassVar[frozenset[Input]] = frozenset({"text"})
    asks_teacher: ClassVar[bool] = False

    def __init__(self, settings: GenerateSettings, sources: Sources) -> None:
        if settings.noise_level:
            raise ConfigError(
                "strategy cls2img has no image embedding to add noise to",
                got=f"noise_level={settings.noise_level}",
                expected="generate.noise_level=0",
                remedy="strategy img2img takes a noise level",
            )
        self.settings, self.sources = settings, sources
        self.prompts = expand_all(settings.templates, sources.classes)

    def per_class(self) -> int:
        """As set."""
        return wanted_per_class(self.settings, self.sources)

    def facts(self) -> dict[str, Any]:
        """The templates."""
        return {"templates": list(self.settings.templates)}

    def make(self, jobs: Sequence[Job], tool: Generator) -> Made:
        """Draws one batch of jobs."""
        prompts = [self.prompt(job) for job in jobs]
        seeds = [derive(job.seed, "draw") for job in jobs]
        images = tool.draw(prompts, seeds, self.settings.steps, self.settings.guidance_scale)
        records = [
            self._record(job, prompt, tool) for job, prompt in zip(jobs, prompts, strict=True)
        ]
        return Made(np.asarray(images), np.empty((len(jobs), 0), np.float32), records)

    def prompt(self, job: Job) -> str:
        """One of the class's prompts, drawn for this image."""
        prompts = self.prompts[job.class_id]
        return prompts[int(numpy_rng(job.seed, "template").integers(len(prompts)))]

    def _record(self, job: Job, prompt: str, generator: Generator) -> SynthRecord:
        return SynthRecord(
            path=f"synthetic.npy#{job.index}",
            class_id=job.class_id,
            method="cls2img",
            prompt=prompt,
            style_id=None,
            source_ids=(),
            weights=(),
            seed=job.seed,
            generator_id=generator.name,
            noise_level=None,
            cond_embedding_ref=None,
        )
