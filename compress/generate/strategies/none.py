"""No synthetic images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.strategies.strategy import Strategy


class NoSynthesis(Strategy):
    """The strategy."""

    def per_class(self) -> int:
        """Zero."""
        return 0

    def generate(self, jobs: Sequence[Job], tool: Any) -> GeneratedBatch:
        """Never called: it has no tool."""
        raise NotImplementedError
