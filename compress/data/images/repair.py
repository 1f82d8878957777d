"""JPEG files that were cut short, e.g. by a broken copy: mended in memory for training.

A decoder takes the end marker as the end of the data and leaves the rest of the picture gray, or
coarse. The runtime does not do so: a device must not answer about half of a picture. Neither do
test images, which stand for what a device sees.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from compress.data.images.jpeg_scans import Scan, scans_of
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
        scans = scans_of(data)
        whole = data[: scans.end] + END
        with Image.open(io.BytesIO(whole), formats=["JPEG", "MPO"]) as image:
            if not scans.is_whole or image.width * image.height > max_pixels:
                return None
            lost = _lost(whole, scans.scans, np.asarray(image))
    except Exception:  # more than its end is damaged: the first error says it
        return None
    return None if lost is None else (whole, f"truncated: {lost}")


def _lost(data: bytes, scans: Sequence[Scan], pixels: np.ndarray) -> str | None:
    """What a picture lacks, in words; None if it is too much."""
    if scans[-1].refines:
        return "some fine detail is lost, but no row"
    if len(scans) == 1:
        missing = _rows_after(~np.isin(pixels, GRAY))
        what = "gray"
    else:  # without the last scan the rows that it reaches are others
        with Image.open(io.BytesIO(data[: scans[-1].start] + END), formats=["JPEG", "MPO"]) as less:
            missing = _rows_after(pixels != np.asarray(less))
        what = "coarse"
    if missing > MOST_MISSING * len(pixels):
        return None
    return f"the last {missing} of {len(pixels)} rows are {what}" if missing else "no row is lost"


def _rows_after(is_there: np.ndarray) -> int:
    """How many rows at the bottom have no value that is there."""
    rows = np.flatnonzero(is_there.reshape(len(is_there), -1).any(axis=1))
    return int(len(is_there) - 1 - rows[-1]) if len(rows) else len(is_there)
