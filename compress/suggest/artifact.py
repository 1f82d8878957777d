"""The files of a suggestion, and the only place that spells their names.

suggestions.csv   a row for each image, the most useful first; the column "label" is empty
suggestions.jpg   a contact sheet in the same order, row by row
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from compress.engine.disk import require_folder
from compress.suggest.suggest import Suggestions
from runtime.files.atomic import atomic

COLUMNS = 5
TILE_PX = 160
GAP_PX = 6
BACKGROUND, INK = (255, 255, 255), (0, 0, 0)
QUALITY = 90
HEADER = ("rank", "path", "label", "guess", "probability", "second", "second_probability")
SCORES = ("uncertainty", "distance", "score", "known")
FORMULA = ("=", "+", "-", "@")  # a spreadsheet would compute a cell that begins so


@dataclass(frozen=True)
class SuggestionArtifact:
    """A folder of the user's choice."""

    folder: Path

    @property
    def csv(self) -> Path:
        return self.folder / "suggestions.csv"

    @property
    def sheet(self) -> Path:
        return self.folder / "suggestions.jpg"

    def require_writable(self) -> None:
        """Raises the OSError that writing would end with; makes the folder."""
        require_folder(self.folder.parent)
        self.folder.mkdir(exist_ok=True)

    def write(self, result: Suggestions) -> None:
        """Writes both files, each whole or not at all."""
        with atomic(self.csv) as temporary:
            temporary.write_bytes(_table(result).encode("utf-8", "surrogateescape"))
        with atomic(self.sheet) as temporary:
            contact_sheet(result).save(temporary, "JPEG", quality=QUALITY)


def _table(result: Suggestions) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow((*HEADER, *SCORES))
    for rank, row in enumerate(result.rows, 1):
        named = _cell(row.path), "", _cell(row.guess), f"{row.probability:.4f}"
        second = _cell(row.second), f"{row.second_probability:.4f}"
        known = "" if row.known is None else "yes" if row.known else "no"
        scores = (f"{value:.4f}" for value in (row.uncertainty, row.distance, row.score))
        rows.writerow((rank, *named, *second, *scores, known))
    return text.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def contact_sheet(result: Suggestions) -> Image.Image:
    """The images as the model sees them, with their ranks."""
    step = TILE_PX + GAP_PX
    columns = min(COLUMNS, len(result.crops))
    lines = -(-len(result.crops) // COLUMNS)
    sheet = Image.new("RGB", (columns * step + GAP_PX, lines * step + GAP_PX), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for at, pixels in enumerate(result.crops):
        x, y = (GAP_PX + place * step for place in (at % COLUMNS, at // COLUMNS))
        how = Image.Resampling.BICUBIC
        sheet.paste(Image.fromarray(np.asarray(pixels)).resize((TILE_PX, TILE_PX), how), (x, y))
        draw.rectangle((x, y, x + 22, y + 14), fill=BACKGROUND)
        draw.text((x + 3, y + 1), str(at + 1), fill=INK)
    return sheet
