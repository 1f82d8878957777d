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

from compress.evaluate.changes import Flip

EXACT_EDGE = 64
THUMB_EDGE = 96
SHOWN_EDGE = 62  # CSS pixels of one tile of a strip
JPEG_QUALITY = 82
SHEET_CLASSES, SHEET_REAL, SHEET_SYNTHETIC = 12, 4, 8
MISTAKES = 12
TURNED = 8  # images shown per direction

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


def strip(images: Pixels, alt: str) -> Picture | None:
    """Images (n, S, S, 3) side by side in one data URI; None if n = 0."""
    if not len(images):
        return None
    exact = images.shape[1] <= EXACT_EDGE
    edge = images.shape[1] if exact else THUMB_EDGE
    gap = max(edge // 16, 1)
    sheet = Image.new(
        "RGBA" if exact else "RGB",
        (len(images) * (edge + gap) - gap, edge),
        (0, 0, 0, 0) if exact else (128, 128, 128),
    )
    for i, pixels in enumerate(images):
        tile = Image.fromarray(pixels)
        sheet.paste(
            tile if exact else tile.resize((edge, edge), Image.Resampling.LANCZOS),
            (i * (edge + gap), 0),
        )
    shown = SHOWN_EDGE / edge
    stream = io.BytesIO()
    if exact:
        sheet.save(stream, "PNG", optimize=True)
    else:
        sheet.save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    kind = "png" if exact else "jpeg"
    uri = f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
    return Picture(uri, round(sheet.width * shown), round(sheet.height * shown), len(images), alt)


def contact_sheets(
    names: Sequence[str],
    real: Pixels,
    real_labels: Labels,
    synthetic: Pixels,
    synthetic_labels: Labels,
) -> list[Sheet]:
    """Real shots beside synthetic images for up to 12 classes, spread evenly over the list of
    classes.

    Args:
        names: the K class names.
        real, synthetic: uint8 (n, C, C, 3), may be memory-mapped; their labels (n,).
    """
    spread = np.linspace(0, len(names) - 1, min(SHEET_CLASSES, len(names)))
    shown = sorted({round(i) for i in spread})
    sheets = []
    for k in shown:
        shots = real[np.flatnonzero(real_labels == k)[:SHEET_REAL]]
        generated = synthetic[np.flatnonzero(synthetic_labels == k)[:SHEET_SYNTHETIC]]
        sheets.append(
            Sheet(
                names[k],
                strip(shots, f"{len(shots)} real training images of {names[k]}"),
                strip(generated, f"{len(generated)} synthetic images of {names[k]}"),
            )
        )
    return sheets


def worst_mistakes(
    names: Sequence[str],
    images: Pixels,
    keys: Sequence[str],
    labels: Labels,
    probabilities: NDArray[np.floating[Any]],
    teacher: Labels | None,
) -> list[Mistake]:
    """The test images that are wrong with the highest confidence.

    Args:
        images: uint8 (N, S, S, 3).
        probabilities: (N, K) of the shipped student.
        teacher: its predicted classes (N,).
    """
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    mistakes = []
    for i in wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]:
        true, answer = names[labels[i]], names[predicted[i]]
        picture = strip(images[i : i + 1], f"test image of {true}, taken for {answer}")
        assert picture is not None
        reference = None if teacher is None else names[teacher[i]]
        mistakes.append(Mistake(picture, keys[i], true, answer, float(confidence[i]), reference))
    return mistakes


def turned(flips: Sequence[Flip], images: Pixels, keys: Sequence[str]) -> list[Turned]:
    """The first of the flips, with their images.

    Args:
        images: uint8 (N, S, S, 3).
        keys: their N names.
    """
    rows = {key: i for i, key in enumerate(keys)}
    shown = []
    for flip in [flip for flip in flips if flip.key in rows][:TURNED]:
        at = rows[flip.key]
        words = f"test image of {flip.true}: fp32 says {flip.before}, int8 {flip.after}"
        picture = strip(images[at : at + 1], words)
        assert picture is not None
        shown.append(Turned(picture, flip))
    return shown
