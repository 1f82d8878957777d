"""No synthetic images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.strategies.strategy import Strategy


class NoSynthesis(Strategy):
    """The strategy; it has no tool, so `generate` is never called."""

    def per_class(self) -> int:
        """Zero."""
        return 0

    def generate(self, jobs: Sequence[Job], tool: Any) -> GeneratedBatch:
        raise NotImplementedError
