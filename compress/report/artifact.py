"""Files of the report stage, and the only place that spells their names.

report.json   the contract (``compress/report/model``)
report.md     for a terminal or a repository
report.html   for a browser, in one file
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.engine.disk import require_folder
from compress.engine.store import write_json
from runtime.files.atomic import atomic, require_target

JSON, MARKDOWN, HTML = "report.json", "report.md", "report.html"
FILES = (JSON, MARKDOWN, HTML)


@dataclass(frozen=True)
class ReportArtifact:
    """A folder with a report: of a report stage, of a run, or of the user's choice."""

    folder: Path

    @property
    def html(self) -> Path:
        """The page."""
        return self.folder / HTML

    @property
    def exists(self) -> bool:
        """Whether there is a report."""
        return (self.folder / JSON).is_file()

    def read(self) -> dict[str, Any]:
        """report.json."""
        report: dict[str, Any] = json.loads((self.folder / JSON).read_text(encoding="utf-8"))
        return report

    def write_json(self, report: Mapping[str, Any]) -> None:
        """Writes report.json."""
        write_json(self.folder / JSON, report)

    def write_pages(self, markdown: str, html: str) -> None:
        """Writes report.md and report.html."""
        for name, text in ((MARKDOWN, markdown), (HTML, html)):
            with atomic(self.folder / name) as whole:
                whole.write_text(text, encoding="utf-8")

    def require_writable(self) -> None:
        """StoreError or OSError, if the folder or a file of it cannot be written."""
        require_folder(self.folder)
        for file in map(self.folder.joinpath, FILES if self.folder.is_dir() else ()):
            require_target(file)
