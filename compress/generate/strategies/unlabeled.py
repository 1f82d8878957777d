"""Photos without labels, of any classes: what the student sees while it learns from its teacher.

GenDD's unsupervised setting has the photos of CC3M (arXiv 2507.14503). Their class is a number
only, so an objective without labels belongs to them: ``gendd_unlabeled``, or ``kd`` with alpha 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.photo_folder import PhotoFolder, folder_of
from compress.generate.strategies.strategy import Strategy


class Unlabeled(Strategy):
    """The strategy; photos are spread over the classes, of which they need not show any."""

    def per_class(self) -> int:
        """As set, but no more than there are photos; at least one."""
        there = len(folder_of(self.settings).files) // max(1, len(self.sources.classes))
        return min(super().per_class(), max(1, there))

    def check(self) -> None:
        """There are photos."""
        assert folder_of(self.settings).files

    def generate(self, jobs: Sequence[Job], tool: PhotoFolder) -> GeneratedBatch:
        """Reads one batch of photos."""
        pixels, files = tool.read([job.index for job in jobs], self.sources.geometry)
        records = [
            job.record(
                self.settings.strategy,
                tool.name,
                source_ids=(path.relative_to(tool.folder).as_posix(),),
                weights=(1.0,),
            )
            for job, path in zip(jobs, files, strict=True)
        ]
        return GeneratedBatch(pixels, np.empty((len(jobs), 0), np.float32), records)
