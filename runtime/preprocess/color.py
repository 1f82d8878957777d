"""Color profiles: pixels of any profile as sRGB, which is what networks are trained on.

The transform is LittleCMS's, which Pillow brings along: relative colorimetric with black point
compensation, as photo editors do it. A profile that is sRGB under any name, and one that is damaged
or of another kind of pixels, changes nothing. An image without a profile is taken as sRGB.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from runtime.errors import ImageError

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

NEARLY = 4  # largest difference of a channel, of 255, by which a profile still counts as sRGB
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # of a profile -> mode of its pixels


def to_srgb(image: Image.Image) -> Image.Image:
    """An image in sRGB: RGB or RGBA if its profile was another one, else the image itself.

    Raises: ImageError: this Pillow was built without LittleCMS, and the profile is not sRGB's.
    """
    data = image.info.get("icc_profile")
    if not isinstance(data, bytes) or not data:
        return image
    opaque, alpha = _opaque(image)
    transform = _transform(data, opaque.mode)
    if transform is None:
        return image
    converted = Image.new("RGB", opaque.size)
    transform.apply(opaque, converted)
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _opaque(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """RGB, L or CMYK pixels, and the transparency if there is any."""
    mode = image.mode
    if "transparency" in image.info or mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        gray = mode in ("L", "LA", "La")
        rgba = image.convert("RGBA")
        return rgba.convert("L" if gray else "RGB"), rgba.getchannel("A")
    if mode == "P":
        return image.convert("RGB"), None
    return (image.convert("L") if mode == "1" else image), None


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """From a profile to sRGB for pixels of a mode; None where nothing is to be changed."""
    try:
        from PIL import ImageCms

        ImageCms.core.littlecms_version  # noqa: B018 (raises without it)
    except ImportError as error:
        if b"sRGB" in profile:
            return None
        remedy = "install Pillow with LittleCMS (pip's own has it), or save the image as sRGB"
        raise ImageError("image with a color profile", got=error, remedy=remedy) from error
    try:
        own: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if SPACES.get(own.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.buildTransform(
            own,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return None if _is_srgb(transform, mode) else transform
    except Exception:  # a damaged profile is ignored, as in every viewer
        return None


def _is_srgb(transform: ImageCmsTransform, mode: str) -> bool:
    """Whether a transform leaves a grid of colors as they are."""
    if mode == "CMYK":
        return False
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    channels = 3 if mode == "RGB" else 1
    grid = np.stack(np.meshgrid(*[levels] * channels), axis=-1).reshape(1, -1, channels)
    before = Image.fromarray(grid if channels == 3 else grid[..., 0])
    after = Image.new("RGB", before.size)
    transform.apply(before, after)
    change = np.asarray(after, int) - np.asarray(before.convert("RGB"), int)
    return int(np.abs(change).max()) <= NEARLY
