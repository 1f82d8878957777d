"""The encoded images of the end-to-end rows: the user's, or the bundle's first golden image."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from runtime import golden
from runtime.bench.report import MAX_TEXT
from runtime.bundle import GOLDEN, Bundle
from runtime.errors import ImageError
from runtime.files.paths import line
from runtime.files.regular import open_file
from runtime.preprocess import decode

MAX_PHOTOS = 64
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif")
)
NOISE_SIZE = (640, 480)  # of the photo for a bundle without golden images


def photos(
    bundle: Bundle, images: str | Path | None = None, skipped: Callable[[str], object] | None = None
) -> tuple[list[bytes], str]:
    """Encoded images for the end-to-end rows, and a description of them.

    Args:
        images: a file or a folder (its first ``MAX_PHOTOS`` by name); default: the first golden
            image, as JPEG.
        skipped: called with a sentence for each file that is left out: it cannot be decoded.

    Raises: ImageError: no image there; one that cannot be decoded, or, with ``skipped``, all.
    """
    if images is None:
        return _own_photo(bundle)
    path = Path(images)
    files = [path]
    try:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise ImageError(f"cannot open {path}", got=error.strerror or error) from error
    if not files:
        endings = f"files that end in {', '.join(sorted(SUFFIXES))}"
        raise ImageError(f"no image in {path}", expected=endings)
    out: list[bytes] = []
    bad: list[ImageError] = []
    for file in files:
        if len(out) == MAX_PHOTOS:
            break
        try:
            out.append(_photo(file))
        except ImageError as error:
            if skipped is None:
                raise
            skipped(f"not measured: {line(error)}"[:MAX_TEXT])
            bad.append(error)
    if not out:
        raise bad[0]
    first = _describe(out[0])
    return out, first if len(out) == 1 else f"{len(out)} images, the first {first}"


def _photo(file: Path) -> bytes:
    try:
        with open_file(file) as stream:
            data = stream.read()
        decode(data)
    except OSError as error:
        raise ImageError(f"cannot open {file}", got=error.strerror or error) from error
    except ImageError as error:
        raise ImageError(f"{file} cannot be decoded", got=error) from error
    return data


def _own_photo(bundle: Bundle) -> tuple[list[bytes], str]:
    if GOLDEN not in bundle.manifest["files"]:
        rng = np.random.Generator(np.random.Philox(0))
        noise = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        photo = encoded(Image.fromarray(noise).resize(NOISE_SIZE))
        return [photo], f"{_describe(photo)}, made up"
    first = golden.read(bundle.path / GOLDEN)["img_0"].tobytes()
    with Image.open(io.BytesIO(first)) as image:
        if image.format == "JPEG":
            return [first], f"{_describe(first)}, golden image"
    photo = encoded(decode(first))
    return [photo], f"{_describe(photo)}, made of a golden image"


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    """An image as the content of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=90)
    return buffer.getvalue()


def _describe(photo: bytes) -> str:
    with Image.open(io.BytesIO(photo)) as image:
        return f"{image.width} x {image.height} {image.format}, {len(photo) / 1024:.0f} kB"
