"""Images inside the page: strips of thumbnails as data URIs, bounded in number and size so that the
page stays small.

Small images (up to 64 px) are kept pixel for pixel as PNG and enlarged by the browser; larger ones
become 96 px JPEG.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXACT_EDGE = 64
THUMB_EDGE = 96
SHOWN_EDGE = 62  # CSS pixels of one tile of a strip
JPEG_QUALITY = 82
SHEET_CLASSES, SHEET_REAL, SHEET_SYNTHETIC = 12, 4, 8
MISTAKES = 12
TURNED = 8  # images shown per direction

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """An embedded image: its data URI, its size in CSS pixels, how many images it shows, and what
    it shows in words.
    """

    uri: str
    width: int
    height: int
    count: int
    alt: str


@dataclass(frozen=True)
class Sheet:
    """A class in the contact sheet; ``real`` or ``synthetic`` is None where there are none."""

    name: str
    real: Picture | None
    synthetic: Picture | None


@dataclass(frozen=True)
class Mistake:
    """A test image that the shipped form gets wrong."""

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
    key: str
    true: str
    before: str
    before_confidence: float
    after: str
    after_confidence: float


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
    real_labels: Sequence[int],
    synthetic: Pixels,
    synthetic_labels: Sequence[int],
) -> list[Sheet]:
    """Real shots beside synthetic images for up to 12 classes, spread evenly over the list of
    classes.

    Args:
        names: the K class names. real, synthetic: uint8 (n, C, C, 3), may be memory-mapped; labels
            (n,).
    """
    chosen = sorted(
        {round(i) for i in np.linspace(0, len(names) - 1, min(SHEET_CLASSES, len(names)))}
    )
    sheets = []
    for k in chosen:
        shots = real[np.flatnonzero(np.asarray(real_labels) == k)[:SHEET_REAL]]
        made = synthetic[np.flatnonzero(np.asarray(synthetic_labels) == k)[:SHEET_SYNTHETIC]]
        sheets.append(
            Sheet(
                names[k],
                strip(shots, f"{len(shots)} real training images of {names[k]}"),
                strip(made, f"{len(made)} synthetic images of {names[k]}"),
            )
        )
    return sheets


def worst_mistakes(
    names: Sequence[str],
    images: Pixels,
    keys: Sequence[str],
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.floating[Any]],
    teacher: NDArray[np.integer[Any]] | None,
) -> list[Mistake]:
    """The test images that are wrong with the highest confidence.

    Args:
        images: (N, S, S, 3) uint8. probabilities: (N, K) of the shipped form. teacher: its
            predicted classes (N,).
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    confidence = probabilities[wrong, predicted[wrong]]
    found = []
    for i in wrong[np.argsort(-confidence, kind="stable")][:MISTAKES]:
        true, said = names[labels[i]], names[predicted[i]]
        picture = strip(images[i : i + 1], f"test image of {true}, taken for {said}")
        assert picture is not None
        told = None if teacher is None else names[teacher[i]]
        found.append(
            Mistake(picture, keys[i], true, said, float(probabilities[i, predicted[i]]), told)
        )
    return found


def turned(flips: Sequence[Mapping[str, Any]], images: Pixels, keys: Sequence[str]) -> list[Turned]:
    """The first of the changed images that report.json lists.

    Args:
        flips: key, true, before, after and their confidences. images: (N, S, S, 3) uint8, keys:
            their N names.
    """
    rows = {key: i for i, key in enumerate(keys)}
    found = []
    for flip in [flip for flip in flips if flip["key"] in rows][:TURNED]:
        at = rows[flip["key"]]
        picture = strip(
            images[at : at + 1],
            f"test image of {flip['true']}: fp32 says {flip['before']}, int8 {flip['after']}",
        )
        assert picture is not None
        found.append(
            Turned(
                picture,
                **{name: flip[name] for name in Turned.__dataclass_fields__ if name != "picture"},
            )
        )
    return found
