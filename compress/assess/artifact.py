"""The files of an evaluation, and the only place that spells their names.

evaluation.json   all figures, every mistake, and what took no part
evaluation.html   for a browser, in one file
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compress.assess.page import render_html
from compress.assess.result import Evaluation
from compress.report.result_folder import ResultFolder


@dataclass(frozen=True)
class EvaluationArtifact(ResultFolder):
    """A folder of the user's choice."""

    NAME: ClassVar[str] = "evaluation"

    def write_json(self, result: Evaluation) -> None:
        """Writes evaluation.json."""
        self._write(self.json, result.to_text() + "\n")

    def write_page(self, result: Evaluation) -> None:
        """Writes evaluation.html."""
        self._write(self.html, render_html(result))
