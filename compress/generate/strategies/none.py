"""No synthetic images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compress.engine.config import GenerateSettings
from compress.generate.jobs import GeneratedBatch, Job
from compress.generate.sources import Sources


class NoSynthesis:
    """The strategy; settings and sources are not used."""

    def __init__(self, settings: GenerateSettings, sources: Sources) -> None:
        pass

    def per_class(self) -> int:
        """Zero."""
        return 0

    def facts(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def generate(self, jobs: Sequence[Job], tool: Any) -> GeneratedBatch:
        """Never called: it has no tool."""
        raise NotImplementedError
