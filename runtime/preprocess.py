"""THE preprocessing: training, calibration, export and the device all call these three functions.

    decode(anything)        -> upright 8-bit RGB              (PIL.Image)
    geometry(image, spec)   -> resize shorter side, crop      uint8   (S, S, 3)
    normalize(pixels, spec) -> standardize, channels first    float32 (B, 3, S, S)

Every step is reproducible bit for bit: sizes and offsets are integer arithmetic, and normalization
    is a table of 256
values per channel computed in float64, so no compiler's fused multiply-add can change it between
two machines.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runtime.errors import BundleError, ImageError

ImageLike = str | Path | bytes | Image.Image | np.ndarray

MAX_PIXELS = 64_000_000  # 8000 x 8000; a larger image is refused before its pixels are decoded
MAX_SIDE = 4096  # of the resized image, in pixels
SHOWN = 200  # characters of a wrong value that a message repeats
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

# Rasters only. Pillow would run Ghostscript for EPS; formats that nobody photographs in are attack
# surface.
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


@dataclass(frozen=True)
class PreprocessSpec:
    """How pixels become the model's input.

    Attributes:
        size: edge S of the square input, in pixels.
        resize: edge that the shorter side is resized to before the crop, in pixels; at least
            ``size``.
        interpolation: "bicubic" or "bilinear", both with Pillow's antialiasing.
        mean: per channel (R, G, B), of values in [0, 1].
        std: per channel (R, G, B), of values in [0, 1].

    Raises:
        BundleError: a value that no preprocessing can have.
    """

    size: int
    resize: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        for name in ("size", "resize"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIDE:
                raise BundleError(
                    f"preprocess {name}",
                    got=repr(value)[:SHOWN],
                    expected=f"an integer in 1..{MAX_SIDE}",
                )
        if self.resize < self.size:
            raise BundleError(
                "preprocess resize", got=self.resize, expected=f"at least size, {self.size}"
            )
        if not isinstance(self.interpolation, str) or self.interpolation not in INTERPOLATIONS:
            got = repr(self.interpolation)[:SHOWN]
            raise BundleError(
                "preprocess interpolation", got=got, expected=" or ".join(INTERPOLATIONS)
            )
        object.__setattr__(self, "mean", _triple("mean", self.mean, low=-10.0))
        object.__setattr__(self, "std", _triple("std", self.std, low=1e-6))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that ``from_json`` reads back to an equal spec."""
        values = asdict(self)
        return {**values, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, values: object) -> PreprocessSpec:
        """Reads the object that ``to_json`` wrote.

        Raises:
            BundleError: a field that is missing, unknown or out of range.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping):
            raise BundleError(
                "preprocess",
                got=type(values).__name__,
                expected=f"an object with {', '.join(names)}",
            )
        if set(values) != set(names):
            raise BundleError(
                "preprocess fields",
                got=repr(sorted(map(str, values)))[:SHOWN],
                expected=sorted(names),
            )
        return cls(**values)


def _triple(name: str, values: object, low: float) -> tuple[float, float, float]:
    is_three = isinstance(values, (list, tuple)) and len(values) == 3
    if not is_three or not all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and low <= v <= 10.0
        for v in values  # type: ignore[attr-defined]
    ):
        raise BundleError(
            f"preprocess {name}", got=repr(values)[:SHOWN], expected=f"three numbers in {low:g}..10"
        )
    red, green, blue = (float(v) for v in values)  # type: ignore[attr-defined]
    return red, green, blue


def decode(image: ImageLike, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An upright RGB image from a path, encoded bytes, a PIL image or an array.

    EXIF orientation is applied; transparency is composited on white; 16-bit gray is scaled to 8
    bit; the first frame of an animation is taken; color profiles are ignored. Arrays are (H, W),
    (H, W, 1), (H, W, 3) or (H, W, 4), uint8 or uint16.

    Raises:
        ImageError: not an image, truncated, larger than ``max_pixels``, or an array of another
            shape or type.
    """
    if isinstance(image, np.ndarray):
        return _to_rgb(_from_array(image, max_pixels))
    if isinstance(image, Image.Image):
        return _upright(image, "image", max_pixels)
    if isinstance(image, (bytes, bytearray, memoryview)):
        with io.BytesIO(image) as stream:
            return _from_stream(stream, "encoded image", max_pixels)
    if isinstance(image, (str, Path)):
        try:
            with open(image, "rb") as stream:
                return _from_stream(stream, str(image), max_pixels)
        except OSError as error:  # _from_stream raises ImageError only
            raise ImageError(f"cannot open {image}", got=error.strerror or error) from error
    raise ImageError(
        "image of unknown type",
        got=type(image).__name__,
        expected="a path, bytes, a PIL image or a numpy array",
    )


def geometry(image: Image.Image, spec: PreprocessSpec) -> np.ndarray:
    """The central square of an RGB image, uint8 (S, S, 3).

    The shorter side becomes ``resize`` and the longer one ``long * resize // short`` (smaller
    images are enlarged); the crop starts at half of what is left over, rounded half to even, as
    torchvision does, but in integers.
    """
    width, height = image.size
    short = min(width, height)
    target = (width * spec.resize // short, height * spec.resize // short)
    # Rows first, always: since Pillow 13 one call begins with the columns of tall images, and
    # rounds elsewhere.
    for step in ((target[0], height), target):
        if step != image.size:
            image = image.resize(step, INTERPOLATIONS[spec.interpolation])
    if target != (spec.size, spec.size):
        left, top = _crop_start(target[0] - spec.size), _crop_start(target[1] - spec.size)
        image = image.crop((left, top, left + spec.size, top + spec.size))
    return np.asarray(image)


def normalize(pixels: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    """float32 (B, 3, S, S) from uint8 (B, S, S, 3) or (S, S, 3): (pixel / 255 - mean) / std,
    rounded once.

    Raises:
        ImageError: another shape or type.
    """
    batch = pixels[None] if pixels.ndim == 3 else pixels
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[1:] != (spec.size, spec.size, 3):
        raise ImageError(
            "pixels to normalize",
            got=f"{pixels.dtype} {pixels.shape}",
            expected=f"uint8 (B, {spec.size}, {spec.size}, 3)",
        )
    table = _table(spec.mean, spec.std)
    out = np.empty((len(batch), 3, spec.size, spec.size), np.float32)
    for index in range(len(batch)):
        for channel in range(3):
            np.take(
                table[channel], batch[index, ..., channel], out=out[index, channel], mode="clip"
            )  # clip: no copy
    return out


@lru_cache(maxsize=8)
def _table(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Normalized value of each channel and byte, float32 (3, 256)."""
    unit = np.arange(256, dtype=np.float64) / 255.0
    return ((unit - np.array(mean)[:, None]) / np.array(std)[:, None]).astype(np.float32)


def _crop_start(left_over: int) -> int:
    """``left_over / 2`` rounded half to even."""
    return (left_over + (left_over >> 1 & 1)) >> 1


def _from_stream(stream: Any, name: str, max_pixels: int) -> Image.Image:
    try:
        with _open(stream) as image:
            return _upright(image, name, max_pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{name} is too large", got=error, expected=f"at most {max_pixels:,} pixels"
        ) from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not an image", expected=f"one of {', '.join(FORMATS)}"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, MemoryError) as error:
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
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise ImageError(f"{name} cannot be decoded", got=error) from error
    turn = ORIENTATIONS.get(_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation; 1 where the tag is absent or the EXIF block is damaged, as every viewer
    does.
    """
    try:
        value = image.getexif().get(0x0112, 1)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB; transparency on white."""
    if image.mode.startswith("I"):
        image = _from_16_bit(np.asarray(image))
    if image.mode == "F":
        raise ImageError(
            "image of floating-point pixels", got="mode F", expected="8- or 16-bit pixels"
        )
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
        raise ImageError(
            "integer image", got=f"values {wide.min()}..{wide.max()}", expected="0..65535"
        )
    return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))


def _from_array(array: np.ndarray, max_pixels: int) -> Image.Image:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not is_image or array.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            "array is not an image",
            got=f"{array.dtype} {array.shape}",
            expected="uint8 or uint16, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)",
            remedy="channels go last, values 0..255 are not rescaled",
        )
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
        raise ImageError(
            f"{name} is too large",
            got=f"{width} x {height} = {width * height:,} pixels",
            expected=f"at most {max_pixels:,}",
            remedy="shrink it, or raise max_pixels if you trust it",
        )
    if max(width, height) > 1000 * min(
        width, height
    ):  # resizing 1 x N would make an image of N * resize**2 pixels
        raise ImageError(
            f"{name} is too narrow",
            got=f"{width} x {height} pixels",
            expected="sides within 1:1000",
        )
