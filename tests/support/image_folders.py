"""Tiny image folders for tests."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def photo(seed: int = 0, size: tuple[int, int] = (20, 14)) -> Image.Image:
    """A smooth color picture of (width, height) pixels."""
    corners = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC)


def grainy(seed: int = 0, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """A picture with detail everywhere, so that its JPEG data covers all rows."""
    noise = np.random.default_rng(seed).integers(-40, 41, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(photo(seed, size), int) + noise, 0, 255).astype("u1"))


def saved(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """A picture as the bytes of a file."""
    with io.BytesIO() as stream:
        image.save(stream, kind, **options)
        return stream.getvalue()


def encoded(seed: int = 0, kind: str = "JPEG", size: tuple[int, int] = (20, 14)) -> bytes:
    """The same picture as the bytes of a file."""
    with io.BytesIO() as stream:
        photo(seed, size).save(stream, kind)
        return stream.getvalue()


def fill(folder: Path, count: int, seed: int = 0) -> Path:
    """``count`` JPEG files in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index:03d}.jpg").write_bytes(encoded(seed + index))
    return folder


def image_folder(
    root: Path, classes: tuple[str, ...] = ("rose", "water_lily"), train: int = 4, test: int = 3
) -> Path:
    """An ImageFolder with train/ and test/."""
    for number, name in enumerate(classes):
        fill(root / "train" / name, train, seed=1000 * number)
        fill(root / "test" / name, test, seed=1000 * number + 500)
    return root


def domain_folders(
    root: Path, folders: tuple[str, ...], classes: Iterable[str], count: int = 5
) -> Path:
    """``ROOT/<folder>/<class>/000.jpg``: ``count`` images per class and domain, all different."""
    for number, (folder, name) in enumerate(itertools.product(folders, tuple(classes))):
        fill(root / folder / name, count, seed=10_000 + 100 * number)
    return root
