"""Contact sheets: the real shots of a class in the first row, synthetic images below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.generate.artifact import sheet_names

__all__ = ["contact_sheet", "sheet_names"]

COLUMNS = 8
SYNTHETIC_ROWS = 3
TILE_PX = 96
GAP_PX = 4
BACKGROUND = (255, 255, 255)


def contact_sheet(
    real: Sequence[NDArray[np.uint8]], synthetic: Sequence[NDArray[np.uint8]]
) -> Image.Image:
    """One image of up to 8 real images ``(C, C, 3)`` above up to 24 synthetic ones."""
    shown = list(synthetic[: COLUMNS * SYNTHETIC_ROWS])
    rows = [list(real[:COLUMNS])] if len(real) else []
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
