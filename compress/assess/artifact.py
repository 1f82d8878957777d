"""The files of an evaluation, and the only place that spells their names.

evaluation.json   all figures, every mistake, and what took no part
evaluation.html   for a browser, in one file
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.assess.page import render_html
from compress.assess.result import Evaluation
from compress.engine.disk import require_folder, require_no_file
from runtime.files.atomic import atomic, require_target

JSON, HTML = "evaluation.json", "evaluation.html"


@dataclass(frozen=True)
class EvaluationArtifact:
    """A folder of the user's choice."""

    folder: Path

    @property
    def json(self) -> Path:
        """The figures."""
        return self.folder / JSON

    @property
    def html(self) -> Path:
        """The page."""
        return self.folder / HTML

    def require_writable(self) -> None:
        """StoreError or OSError, if the folder or a file of it cannot be written."""
        require_no_file(self.folder)
        require_folder(self.folder)
        for file in (self.json, self.html) if self.folder.is_dir() else ():
            require_target(file)

    def write_json(self, result: Evaluation) -> None:
        """Writes evaluation.json."""
        self._write(self.json, result.to_text() + "\n")

    def write_page(self, result: Evaluation) -> None:
        """Writes evaluation.html."""
        self._write(self.html, render_html(result))

    def _write(self, file: Path, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic(file) as whole:
            whole.write_text(text, encoding="utf-8")
