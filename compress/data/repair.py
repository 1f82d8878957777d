"""JPEG files that were cut short, e.g. by a broken copy: mended in memory for training.

A decoder takes the end marker as the end of the data and leaves the rest of the picture gray. The
runtime does not do so: a device must not answer about half of a picture.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from runtime.files.regular import open_file

START = b"\xff\xd8\xff"
END = b"\xff\xd9"  # JPEG, table B.1: end of image
GRAY = (127, 128)  # in every channel, of pixels without data: all coefficients are zero
MOST_MISSING = 0.2  # share of the rows beyond which a picture is not used
MAX_BYTES = 1 << 28


def mended(path: Path, max_pixels: int) -> tuple[bytes, str] | None:
    """A JPEG file with its end, and what was wrong; None if it is another format or lacks more."""
    try:
        with open_file(path) as file:
            data = file.read(MAX_BYTES)
        if not data.startswith(START):
            return None
        whole = data + END
        with Image.open(io.BytesIO(whole), formats=["JPEG", "MPO"]) as image:
            if image.width * image.height > max_pixels:
                return None
            missing = _rows_missing(np.asarray(image))
            height = image.height
    except Exception:  # more than its end is damaged: the first error says it
        return None
    if missing > MOST_MISSING * height:
        return None
    lost = f"the last {missing} of {height} rows are gray" if missing else "no row is lost"
    return whole, f"cut short: {lost}"


def _rows_missing(pixels: np.ndarray) -> int:
    """How many rows at the bottom are of the gray that stands for no data."""
    has_data = ~np.isin(pixels, GRAY).reshape(len(pixels), -1).all(axis=1)
    rows = np.flatnonzero(has_data)
    return int(len(pixels) - 1 - rows[-1]) if len(rows) else len(pixels)
