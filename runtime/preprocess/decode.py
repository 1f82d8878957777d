"""Decoding: any image as a path, bytes, file, PIL image or array -> upright 8-bit RGB."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from numbers import Number
from typing import IO, Any

import numpy as np
from PIL import Image

from runtime.errors import ImageError
from runtime.files.regular import open_file
from runtime.preprocess.color import to_srgb
from runtime.preprocess.heif import is_heif, open_heif
from runtime.preprocess.large import pixels_up_to
from runtime.preprocess.png_text import without_texts
from runtime.preprocess.strict import strict

ImageLike = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | np.ndarray

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
ORIENTATION = 0x0112


def decode(image: ImageLike, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An upright RGB image from a path, encoded bytes, a binary file, a PIL image or an array.

    Applies the orientation in EXIF or XMP, converts other color profiles to sRGB, composites
    transparency on white, scales 16-bit gray to 8 bits and takes the first frame or page. The
    result carries neither orientation nor profile: decoding it again changes nothing. Arrays are
    (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8 or uint16, in any byte order. HEIC needs the
    extra ``heic``.

    Raises: ImageError: no image, truncated, above ``max_pixels``, or another type.
    """
    if isinstance(image, np.ndarray):
        return _to_rgb(_from_array(image, max_pixels), "array")
    if isinstance(image, Image.Image):
        with strict():
            return _upright(image, "image", max_pixels)
    with _stream(image) as (stream, name):
        while True:
            with strict() as held:
                decoded = _from_stream(stream, name, max_pixels)
            if all(held):
                return decoded
            stream.seek(0)


def is_encoded(image: object) -> bool:
    """Whether ``image`` is a path, bytes or a file, whatever is in it."""
    is_known = isinstance(image, (str, os.PathLike, bytes, bytearray, memoryview))
    return is_known or callable(getattr(image, "read", None))


@contextmanager
def _stream(image: Any) -> Iterator[tuple[IO[bytes], str]]:
    """The bytes of an image as a file at its start, and its name for messages."""
    if not is_encoded(image):
        expected = "a path, bytes, a binary file, a PIL image or a numpy array"
        raise ImageError("image of unknown type", got=type(image).__name__, expected=expected)
    if isinstance(image, (str, os.PathLike)):
        stream, name = _opened(image)
    else:
        stream, name = io.BytesIO(_content(image)), _name(image)
    with stream:
        yield stream, name


def _opened(image: Any) -> tuple[IO[bytes], str]:
    name = repr(image)
    try:
        name = os.fsdecode(image)
        return open_file(name), name
    except OSError as error:
        raise ImageError(f"cannot open {name}", got=error.strerror or error) from error
    except (TypeError, ValueError) as error:  # ValueError: a null byte in the name
        raise ImageError(f"cannot open {image!r}", got=error) from error


def _content(image: Any) -> bytes:
    """Bytes, or the whole of a file, which need not be able to go back."""
    try:
        if isinstance(image, (bytes, bytearray, memoryview)):
            return bytes(image)
        with suppress(OSError, AttributeError):  # a pipe is read from where it is
            image.seek(0)
        data = image.read()
    except Exception as error:  # closed, unreadable, or somebody's own kind of file
        raise ImageError(f"{_name(image)} cannot be read", got=_reason(error)) from error
    if not isinstance(data, bytes):
        got = type(data).__name__
        remedy = 'open it with mode "rb"'
        raise ImageError(f"{_name(image)} is text", got=got, expected="bytes", remedy=remedy)
    return data


def _name(image: Any) -> str:
    name = getattr(image, "name", None)
    return name if isinstance(name, str) else "encoded image"


def _from_stream(stream: IO[bytes], name: str, max_pixels: int) -> Image.Image:
    try:
        return _decoded(stream, name, max_pixels)
    except ImageError:
        lean = without_texts(stream)
        if lean is None:
            raise
        return _decoded(io.BytesIO(lean), name, max_pixels)


def _decoded(stream: IO[bytes], name: str, max_pixels: int) -> Image.Image:
    try:
        with pixels_up_to(max_pixels), _open(stream, name) as image:
            return _upright(image, name, max_pixels, own=True)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = Image.MAX_IMAGE_PIXELS or max_pixels  # another library's, if lower
        limit *= 2 if isinstance(error, Image.DecompressionBombError) else 1  # as Pillow takes it
        raise _too_large(name, _pillows_count(error), min(max_pixels, limit)) from error
    except Image.UnidentifiedImageError as error:
        formats = f"one of {', '.join(FORMATS)}"
        raise ImageError(f"{name} is not an image", expected=formats) from error
    except Exception as error:  # Pillow's readers raise anything on a broken file
        raise ImageError(f"{name} cannot be decoded", got=_reason(error)) from error


def _open(stream: Any, name: str) -> Image.Image:
    Image.preinit()
    try:
        return Image.open(stream, formats=COMMON_FORMATS)
    except Image.UnidentifiedImageError:
        Image.init()
        stream.seek(0)
        if is_heif(stream):
            return open_heif(stream, name)
        return Image.open(stream, formats=[name for name in FORMATS if name in Image.OPEN])


def _upright(image: Image.Image, name: str, max_pixels: int, own: bool = False) -> Image.Image:
    _check_size(image.width, image.height, name, max_pixels)
    try:
        image.load()
        rgb = _to_rgb(image, name)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{name} cannot be decoded", got=_reason(error)) from error
    turn = _turn(image)
    if turn is not None:
        rgb = rgb.transpose(turn)
    elif rgb is image and image.info and not own:
        rgb = image.copy()
    rgb.info.clear()  # copied with the pixels; the orientation in it is spent
    return rgb


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How to turn a loaded image upright; a damaged block is ignored, as in every viewer."""
    try:
        tag = image.getexif().get(ORIENTATION)
    except Exception:
        return None
    return ORIENTATIONS.get(tag) if isinstance(tag, Number) else None  # type: ignore[call-overload]


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """8-bit sRGB; transparency on white."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        gray = _from_16_bit(values, name)
        clear = image.info.get("transparency")  # of a PNG: the level that is transparent
        if isinstance(clear, int):
            gray.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
        gray.info = {key: image.info[key] for key in ("icc_profile",) if key in image.info}
        image = gray
    if image.mode == "F":
        what = f"{name} has floating-point pixels"
        raise ImageError(what, got="mode F", expected="8- or 16-bit pixels")
    image = to_srgb(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy() if image.readonly else image
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(values: np.ndarray, name: str) -> Image.Image:
    """Gray (H, W) of 0..65535 scaled to 0..255, rounded to nearest."""
    wide = values.astype(np.int64)
    if wide.size and (wide.min() < 0 or wide.max() > 65535):
        got = f"values {wide.min()}..{wide.max()}"
        raise ImageError(f"{name} has integer pixels out of range", got=got, expected="0..65535")
    return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))


def _from_array(array: np.ndarray, max_pixels: int) -> Image.Image:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not is_image or array.dtype.kind != "u" or array.dtype.itemsize > 2:
        got = f"{array.dtype} {array.shape}"
        expected = "uint8 or uint16, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)"
        remedy = "channels go last, values 0..255 are not rescaled"
        raise ImageError("array is not an image", got=got, expected=expected, remedy=remedy)
    if np.any(getattr(array, "mask", False)):  # a numpy.ma.MaskedArray
        remedy = "fill them first: array.filled(255)"
        raise ImageError(
            "array with masked pixels", expected="a value for every pixel", remedy=remedy
        )
    array = np.asarray(array)
    _check_size(array.shape[1], array.shape[0], "array", max_pixels)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype.itemsize == 2:
        array = ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))


def _too_large(name: str, got: str, limit: int) -> ImageError:
    remedy = "shrink it, or raise max_pixels if you trust it"
    return ImageError(
        f"{name} is too large", got=got, expected=f"at most {limit:,} pixels", remedy=remedy
    )


def _pillows_count(error: Exception) -> str:
    """The pixels that Pillow counted in what it takes for a bomb: "Image size (N pixels) ..."."""
    count = re.search(r"\((\d+) pixels\)", str(error))
    return f"{int(count[1]):,} pixels" if count else str(error)


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name} is empty", got=f"{width} x {height} pixels")
    if width * height > max_pixels:
        raise _too_large(name, f"{width} x {height} = {width * height:,} pixels", max_pixels)
    if max(width, height) > 1000 * min(width, height):  # 1 x N would become N * resize**2 pixels
        got = f"{width} x {height} pixels"
        raise ImageError(f"{name} is too narrow", got=got, expected="sides within 1:1000")
