"""Pictures of no class, where nothing shows the classes: neither a shot nor a generator.

A network that knows the names of all classes needs no picture of them. Quantization needs pictures
of anything, to see the ranges of activations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compress.generate.dead_leaves import DeadLeaves
from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.strategies.strategy import Strategy

ENOUGH = 128  # pictures of a run, whatever the number of classes


class DeadLeavesStrategy(Strategy):
    """The strategy; its pictures are spread over the classes, of which they show none."""

    def per_class(self) -> int:
        """As set, but no more than enough for the run."""
        return min(super().per_class(), -(-ENOUGH // max(1, len(self.sources.classes))))

    def generate(self, jobs: Sequence[Job], tool: DeadLeaves) -> GeneratedBatch:
        """Draws one batch of jobs."""
        records = [job.record(self.settings.strategy, tool.name) for job in jobs]
        nothing = np.empty((len(jobs), 0), np.float32)
        return GeneratedBatch(tool.draw([job.seed for job in jobs]), nothing, records)
