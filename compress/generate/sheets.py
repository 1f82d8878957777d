"""Contact sheets: for each class the real shots in the first row, synthetic images below."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLUMNS, SYNTHETIC_ROWS = 8, 3
TILE_PX, GAP_PX = 96, 4
BACKGROUND = (255, 255, 255)


def contact_sheet(
    real: Sequence[NDArray[np.uint8]], synthetic: Sequence[NDArray[np.uint8]]
) -> Image.Image:
    """One picture of up to 8 real images ``(C, C, 3)`` over up to 24 synthetic ones."""
    rows = [list(real[:COLUMNS])] if len(real) else []
    shown = list(synthetic[: COLUMNS * SYNTHETIC_ROWS])
    rows += [shown[start : start + COLUMNS] for start in range(0, len(shown), COLUMNS)]
    step = TILE_PX + GAP_PX
    width = max((len(row) for row in rows), default=1)
    sheet = Image.new("RGB", (width * step + GAP_PX, max(len(rows), 1) * step + GAP_PX), BACKGROUND)
    for y, row in enumerate(rows):
        for x, pixels in enumerate(row):
            enlarge = pixels.shape[0] < TILE_PX
            how = Image.Resampling.NEAREST if enlarge else Image.Resampling.BICUBIC
            tile = Image.fromarray(np.asarray(pixels)).resize((TILE_PX, TILE_PX), how)
            sheet.paste(tile, (GAP_PX + x * step, GAP_PX + y * step))
    return sheet


def sheet_names(classes: Sequence[str]) -> list[str]:
    """``sheet_<class>.png`` with the class reduced to letters and digits; a number tells equal ones
    apart.
    """
    slugs = [re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_") or "class" for name in classes]
    return [
        f"sheet_{slug}.png" if slugs.count(slug) == 1 else f"sheet_{slug}_{position}.png"
        for position, slug in enumerate(slugs)
    ]
