"""Decoding: any image as a path, bytes, PIL image or array -> upright 8-bit RGB."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime.errors import ImageError

ImageLike = str | Path | bytes | Image.Image | np.ndarray

MAX_PIXELS = 64_000_000  # 8000 x 8000; a larger image is refused before its pixels are decoded

# Rasters only: Pillow would run Ghostscript for EPS, and rare formats are attack surface.
COMMON_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM")  # what Pillow loads first
FORMATS = (*COMMON_FORMATS, "WEBP", "TIFF", "AVIF", "MPO", "JPEG2000", "TGA", "QOI", "ICO")

# EXIF tag 0x0112 -> how to turn the stored pixels upright (CIPA DC-008, section 4.6.5).
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, struct.error)  # Pillow's, on broken files


def decode(image: ImageLike, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An upright RGB image from a path, encoded bytes, a PIL image or an array.

    Applies the EXIF orientation, composites transparency on white, scales 16-bit gray to 8 bits,
    takes an animation's first frame and ignores color profiles. Arrays are (H, W), (H, W, 1),
    (H, W, 3) or (H, W, 4), uint8 or uint16.

    Raises: ImageError: no image, truncated, above ``max_pixels``, or another array.
    """
    if isinstance(image, np.ndarray):
        return _to_rgb(_from_array(image, max_pixels))
    if isinstance(image, Image.Image):
        return _upright(image, "image", max_pixels)
    if isinstance(image, (bytes, bytearray, memoryview)):
        with io.BytesIO(image) as stream:
            return _from_stream(stream, "encoded image", max_pixels)
    if not isinstance(image, (str, Path)):
        expected = "a path, bytes, a PIL image or a numpy array"
        raise ImageError("image of unknown type", got=type(image).__name__, expected=expected)
    try:
        with open(image, "rb") as stream:
            return _from_stream(stream, str(image), max_pixels)
    except OSError as error:  # _from_stream raises ImageError only
        raise ImageError(f"cannot open {image}", got=error.strerror or error) from error


def _from_stream(stream: Any, name: str, max_pixels: int) -> Image.Image:
    try:
        with _open(stream) as image:
            return _upright(image, name, max_pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"at most {max_pixels:,} pixels"
        raise ImageError(f"{name} is too large", got=error, expected=limit) from error
    except Image.UnidentifiedImageError as error:
        formats = f"one of {', '.join(FORMATS)}"
        raise ImageError(f"{name} is not an image", expected=formats) from error
    except (*DAMAGE, MemoryError) as error:
        raise ImageError(f"{name} cannot be decoded", got=error) from error


def _open(stream: Any) -> Image.Image:
    Image.preinit()
    try:
        return Image.open(stream, formats=COMMON_FORMATS)
    except Image.UnidentifiedImageError:
        Image.init()
        stream.seek(0)
        return Image.open(stream, formats=[name for name in FORMATS if name in Image.OPEN])


def _upright(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    _check_size(image.width, image.height, name, max_pixels)
    try:
        image.load()
        rgb = _to_rgb(image)
    except DAMAGE as error:
        raise ImageError(f"{name} cannot be decoded", got=error) from error
    try:
        tag = image.getexif().get(0x0112)  # a damaged EXIF block is ignored, as in every viewer
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return rgb
    turn = ORIENTATIONS.get(tag) if isinstance(tag, int) else None
    return rgb if turn is None else rgb.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB; transparency on white."""
    if image.mode.startswith("I"):
        image = _from_16_bit(np.asarray(image))
    if image.mode == "F":
        what = "image of floating-point pixels"
        raise ImageError(what, got="mode F", expected="8- or 16-bit pixels")
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy() if image.readonly else image
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(values: np.ndarray) -> Image.Image:
    """Gray (H, W) of 0..65535 scaled to 0..255, rounded to nearest."""
    wide = values.astype(np.int64)
    if wide.size and (wide.min() < 0 or wide.max() > 65535):
        got = f"values {wide.min()}..{wide.max()}"
        raise ImageError("integer image", got=got, expected="0..65535")
    return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))


def _from_array(array: np.ndarray, max_pixels: int) -> Image.Image:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not is_image or array.dtype not in (np.uint8, np.uint16):
        got = f"{array.dtype} {array.shape}"
        expected = "uint8 or uint16, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
        remedy = "channels go last, values 0..255 are not rescaled"
        raise ImageError("array is not an image", got=got, expected=expected, remedy=remedy)
    _check_size(array.shape[1], array.shape[0], "array", max_pixels)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name} is empty", got=f"{width} x {height} pixels")
    if width * height > max_pixels:
        got = f"{width} x {height} = {width * height:,} pixels"
        remedy = "shrink it, or raise max_pixels if you trust it"
        limit = f"at most {max_pixels:,}"
        raise ImageError(f"{name} is too large", got=got, expected=limit, remedy=remedy)
    if max(width, height) > 1000 * min(width, height):  # 1 x N would become N * resize**2 pixels
        got = f"{width} x {height} pixels"
        raise ImageError(f"{name} is too narrow", got=got, expected="sides within 1:1000")
