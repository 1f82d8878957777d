"""What every strategy is: settings, sources, an amount of images, and how to generate them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.config import GenerateSettings
from compress.generate.artifact import SyntheticRecord
from compress.generate.generators.generator import Sampling
from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.sources import Sources


class Strategy(ABC):
    """What to generate; a row of `STRATEGIES`."""

    def __init__(self, settings: GenerateSettings, sources: Sources) -> None:
        self.settings = settings
        self.sources = sources
        self.sampling = Sampling(
            settings.steps,
            settings.guidance_scale,
            settings.noise_level,
            settings.guidance_interval,
        )

    def check(self) -> None:
        """Raises ConfigError for what would be refused at the first image; loads nothing."""
        return  # most refuse nothing

    def per_class(self) -> int:
        """Images per class: as set, or ``synth_ratio`` times the mean number of shots."""
        if self.settings.synth_ratio is None:
            return self.settings.per_class
        shots = len(self.sources.labels)
        classes = len(self.sources.classes)
        return round(self.settings.synth_ratio * shots / max(1, classes))

    def facts(self) -> Mapping[str, object]:
        """What the report says about this strategy alone."""
        return {}

    def style_agreement(
        self, images: NDArray[np.uint8], records: Sequence[SyntheticRecord]
    ) -> Mapping[str, object] | None:
        """Whether the teacher sees the style and the class asked for; None without styles."""
        return None

    @abstractmethod
    def generate(self, jobs: Sequence[Job], tool: Any) -> GeneratedBatch:
        """Generates one image per job with the `Generator` or `Decoder` that its row names."""
