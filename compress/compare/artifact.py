"""The files of a comparison, and the only place that spells their names.

comparison.json   the figures of every run, and what may be said of them
comparison.html   the same with a picture, in one file
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compress.compare.page import render_html
from compress.compare.runs import Comparison
from compress.report.result_folder import ResultFolder


@dataclass(frozen=True)
class ComparisonArtifact(ResultFolder):
    """A folder of the user's choice."""

    NAME: ClassVar[str] = "comparison"

    def write(self, comparison: Comparison) -> None:
        """Writes both files."""
        self._write(self.json, comparison.to_text() + "\n")
        self._write(self.html, render_html(comparison))
