"""Images inside the page: strips of thumbnails as data URIs, few and small enough for one file.

Images up to 64 px stay pixel for pixel, as PNG that the browser enlarges; larger ones become
96 px JPEG.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from compress.data.artifact import ImageSet
from compress.evaluate.changes import Flip
from compress.report.model.confidence import PassedImage
from compress.report.model.images import DoubtfulLabel, FarImage

EXACT_EDGE = 64
THUMB_EDGE = 96
SHOWN_EDGE = 62  # CSS pixels of one tile of a strip
JPEG_QUALITY = 82
SHEET_CLASSES, SHEET_REAL, SHEET_SYNTHETIC = 12, 4, 8
MISTAKES = 12
TURNED = 8  # images shown per direction
NOTED = 12  # labels in doubt, and outliers

Pixels = NDArray[np.uint8]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Picture:
    """A strip of ``count`` images as data URI, its size in CSS pixels, and its text alternative."""

    uri: str
    width: int
    height: int
    count: int
    alt: str


@dataclass(frozen=True)
class Sheet:
    """A class in the contact sheet; ``real`` or ``synthetic`` is None without images."""

    name: str
    real: Picture | None
    synthetic: Picture | None


@dataclass(frozen=True)
class Mistake:
    """A test image that the shipped student gets wrong."""

    picture: Picture
    key: str
    true: str
    predicted: str
    confidence: float
    teacher: str | None


@dataclass(frozen=True)
class Turned:
    """A test image whose answer quantization changed: before is fp32's, after int8's."""

    picture: Picture
    flip: Flip


@dataclass(frozen=True)
class Noted:
    """A training image with what the report says of it; ``exact``: pixel for pixel."""

    picture: Picture
    row: DoubtfulLabel | FarImage
    exact: bool


@dataclass(frozen=True)
class Passed:
    """An image of no class that the shipped student takes for one."""

    picture: Picture
    kind: str
    label: str
    confidence: float


def strip(images: Pixels, alt: str) -> Picture:
    """Images (n, S, S, 3), n >= 1, side by side in one data URI."""
    exact = images.shape[1] <= EXACT_EDGE
    edge = images.shape[1] if exact else THUMB_EDGE
    gap = max(edge // 16, 1)
    mode, ground = ("RGBA", (0, 0, 0, 0)) if exact else ("RGB", (128, 128, 128))
    sheet = Image.new(mode, (len(images) * (edge + gap) - gap, edge), ground)
    for i, pixels in enumerate(images):
        tile = Image.fromarray(pixels)
        if not exact:
            tile = tile.resize((edge, edge), Image.Resampling.LANCZOS)
        sheet.paste(tile, (i * (edge + gap), 0))
    shown = SHOWN_EDGE / edge
    stream, kind = io.BytesIO(), "png" if exact else "jpeg"
    sheet.save(stream, kind, optimize=True, quality=JPEG_QUALITY)  # PNG has no quality
    uri = f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
    return Picture(uri, round(sheet.width * shown), round(sheet.height * shown), len(images), alt)


def contact_sheets(
    names: Sequence[str], real: ImageSet, synthetic: Pixels, synthetic_labels: Labels
) -> list[Sheet]:
    """Real shots beside synthetic images (n, S, S, 3) for up to 12 evenly spread classes."""
    if not len(real) and not len(synthetic):
        return []
    spread = np.linspace(0, len(names) - 1, min(SHEET_CLASSES, len(names)))
    sheets = []
    for k in sorted({round(i) for i in spread}):
        shots = real.pixels[np.flatnonzero(real.labels == k)[:SHEET_REAL]]
        generated = synthetic[np.flatnonzero(synthetic_labels == k)[:SHEET_SYNTHETIC]]
        shots_alt = f"{len(shots)} real training images of {names[k]}"
        generated_alt = f"{len(generated)} synthetic images of {names[k]}"
        left = strip(shots, shots_alt) if len(shots) else None
        right = strip(generated, generated_alt) if len(generated) else None
        sheets.append(Sheet(names[k], left, right))
    return sheets


def worst_mistakes(
    names: Sequence[str],
    tests: ImageSet,
    probabilities: NDArray[np.floating[Any]],
    teacher: Labels | None,
) -> list[Mistake]:
    """The test images that are wrong with the highest confidence.

    Args:
        probabilities: (N, K) of the shipped student.
        teacher: its predicted classes (N,).
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != tests.labels)
    mistakes = []
    for i in wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]:
        true, answer = names[tests.labels[i]], names[predicted[i]]
        picture = strip(tests.pixels[i : i + 1], f"test image of {true}, taken for {answer}")
        says = None if teacher is None else names[teacher[i]]
        mistakes.append(Mistake(picture, tests.keys[i], true, answer, float(confidence[i]), says))
    return mistakes


def turned(flips: Sequence[Flip], tests: ImageSet) -> list[Turned]:
    """The first of the flips whose images are among the tests."""
    rows = {key: i for i, key in enumerate(tests.keys)}
    shown = []
    for flip in [flip for flip in flips if flip.key in rows][:TURNED]:
        at = rows[flip.key]
        words = f"test image of {flip.true}: fp32 says {flip.before}, int8 {flip.after}"
        shown.append(Turned(strip(tests.pixels[at : at + 1], words), flip))
    return shown


def noted(rows: Sequence[DoubtfulLabel] | Sequence[FarImage], shots: ImageSet) -> list[Noted]:
    """The first of the rows, with the pictures of their shots."""
    place = {key: i for i, key in enumerate(shots.keys)}
    exact = shots.pixels.shape[1] <= EXACT_EDGE
    shown = []
    for row in rows[:NOTED]:
        if row.key in place:
            at = place[row.key]
            picture = strip(shots.pixels[at : at + 1], f"training image labeled {row.label}")
            shown.append(Noted(picture, row, exact))
    return shown


def passed(rows: Sequence[PassedImage], images: Pixels) -> list[Passed]:
    """The rows with their pictures (P, S, S, 3), in the same order."""
    shown = []
    for row, pixels in zip(rows, images, strict=False):
        picture = strip(pixels[None], f"{row.kind}, taken for {row.label}")
        shown.append(Passed(picture, row.kind, row.label, row.confidence))
    return shown
