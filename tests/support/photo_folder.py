"""Images as cameras and editors write them: sizes, formats, subsampling, rotation, palettes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tiny_bundles import photo

KINDS = ("png", "jpeg", "progressive", "no subsampling", "rotated", "gray", "palette")


def picture(seed: int) -> Image.Image:
    """A picture with smooth areas, edges and grain, of a random size; some are taller than 2:1."""
    rng = np.random.default_rng(seed)
    size = tuple(int(edge) for edge in rng.integers(20, 300, 2))
    grain = rng.normal(0, 6, (size[1], size[0], 3)).astype(np.int16)
    pixels = photo(seed, size).astype(np.int16) + grain
    pixels[size[1] // 3 :, size[0] // 2 :] = 255 - pixels[size[1] // 3 :, size[0] // 2 :]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write_photos(folder: Path, count: int) -> list[Path]:
    """``count`` images of all ``KINDS`` in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    return [write_photo(folder, index, KINDS[index % len(KINDS)]) for index in range(count)]


def write_photo(folder: Path, index: int, kind: str) -> Path:
    """One image of a kind."""
    image, stem = picture(index), folder / f"{index:04d}"
    if kind in ("png", "palette"):
        file = stem.with_suffix(".png")
        (image.quantize(64) if kind == "palette" else image).save(file)
        return file
    file, exif = stem.with_suffix(".jpg"), Image.Exif()
    if kind == "rotated":
        exif[0x0112] = 1 + index // len(KINDS) % 8
    options = {"progressive": {"progressive": True}, "no subsampling": {"subsampling": 0}}.get(
        kind, {}
    )
    (image.convert("L") if kind == "gray" else image).save(file, quality=85, exif=exif, **options)
    return file
