"""What a strategy receives for each image, and what it returns for a batch of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.engine.seeds import derive
from compress.generate.artifact import CONDITIONS, IMAGES, SyntheticRecord


@dataclass(frozen=True)
class Job:
    """One image to generate.

    Attributes:
        index: its row in the array of images.
        number: j, counting the images of that class.
        seed: ``derive(run seed, "generate", class_id, j)``; everything random follows from it.
    """

    index: int
    class_id: int
    number: int
    seed: int

    def record(self, method: str, generator_id: str, **origin: Any) -> SyntheticRecord:
        """The record of its image; ``origin`` are the fields for what the image is made from."""
        path = f"{IMAGES}#{self.index}"
        return SyntheticRecord(path, self.class_id, method, self.seed, generator_id, **origin)

    @property
    def condition_ref(self) -> str:
        """Where its condition is stored, as records say it."""
        return f"{CONDITIONS}#{self.index}"


@dataclass(frozen=True)
class GeneratedBatch:
    """Images ``(B, S, S, 3)`` of a batch of jobs, in their order."""

    images: NDArray[np.uint8]
    conditions: NDArray[np.float32]  # (B, E); width 0 from strategies that decode no embedding
    records: list[SyntheticRecord]


def job_at(index: int, classes: int, seed: int) -> Job:
    """The job of a row: number by number, class by class."""
    number, class_id = divmod(index, classes)
    return Job(index, class_id, number, derive(seed, "generate", class_id, number))
