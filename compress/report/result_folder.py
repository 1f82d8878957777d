"""Results in a folder of the user's choice: a JSON file for machines, and a page for people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from compress.engine.disk import require_folder, require_no_file
from runtime.files.atomic import atomic, require_target


@dataclass(frozen=True)
class ResultFolder:
    """A folder with ``NAME.json`` and ``NAME.html``; subclasses name them."""

    NAME: ClassVar[str]
    folder: Path

    @property
    def json(self) -> Path:
        """The figures."""
        return self.folder / f"{self.NAME}.json"

    @property
    def html(self) -> Path:
        """The page."""
        return self.folder / f"{self.NAME}.html"

    def require_writable(self) -> None:
        """StoreError or OSError, if the folder or a file of it cannot be written."""
        require_no_file(self.folder)
        require_folder(self.folder)
        for file in (self.json, self.html) if self.folder.is_dir() else ():
            require_target(file)

    def _write(self, file: Path, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic(file) as whole:
            whole.write_text(text, encoding="utf-8")
