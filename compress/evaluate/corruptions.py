"""Images as a device in the field gets them: five corruptions at five severities, broken frames.

The corruptions and their strengths follow Hendrycks and Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", ICLR 2019, arXiv 1903.12261, written anew: for
images of 224 px brightness adds c to the value channel of HSV, blur is a Gaussian of sigma c, noise
is normal of standard deviation c, JPEG has the quality c. Sigma goes with the edge of the image.
Rotation is ours, in degrees with reflected corners, either way.

    severity     1     2     3     4     5
    brightness   .1    .2    .3    .4    .5
    blur         1     2     3     4     6     of 224 px
    rotation     10    20    30    45    60    degrees
    jpeg         25    18    15    10    7     quality
    noise        .08   .12   .18   .26   .38   of the full range

A broken frame shows nothing of what was before the camera: see ``FRAMES``.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from compress.engine.seeds import numpy_rng

Pixels = NDArray[np.uint8]
SEVERITIES = 5
EDGE = 224  # pixels, that the strengths are meant for


def _brightness(image: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    # v + c at the same hue and saturation: every channel is scaled as v is
    value = image.max(axis=2, keepdims=True).astype(np.float64) / 255
    brighter = np.minimum(value + strength, 1)
    scaled = np.where(value > 0, image * (brighter / np.maximum(value, 1e-9)), 255 * brighter)
    return np.rint(scaled).clip(0, 255).astype(np.uint8)


def _blur(image: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    sigma = strength * max(image.shape[:2]) / EDGE
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))


def _rotation(image: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    angle = strength if rng.random() < 0.5 else -strength
    height, width = image.shape[:2]
    border = math.ceil(0.21 * max(height, width))  # half a diagonal minus half a side
    padded = np.pad(image, ((border, border), (border, border), (0, 0)), mode="reflect")
    turned = Image.fromarray(padded).rotate(angle, Image.Resampling.BICUBIC)
    return np.asarray(turned.crop((border, border, border + width, border + height)))


def _jpeg(image: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    with io.BytesIO() as stream:
        Image.fromarray(image).save(stream, "JPEG", quality=int(strength))
        return np.asarray(Image.open(stream).convert("RGB"))


def _noise(image: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    noisy = image + 255 * strength * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Corruption:
    """One kind: what it does, and its strength at severities 1 to 5."""

    apply: Callable[[Pixels, float, np.random.Generator], Pixels]
    strengths: tuple[float, float, float, float, float]


CORRUPTIONS: Mapping[str, Corruption] = {
    "brightness": Corruption(_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "blur": Corruption(_blur, (1, 2, 3, 4, 6)),
    "rotation": Corruption(_rotation, (10, 20, 30, 45, 60)),
    "jpeg": Corruption(_jpeg, (25, 18, 15, 10, 7)),
    "noise": Corruption(_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
}


def corrupted(image: Pixels, kind: str, severity: int, seed: int) -> Pixels:
    """An image ``(H, W, 3)`` uint8 after one corruption of ``CORRUPTIONS`` at a severity 1..5."""
    row = CORRUPTIONS[kind]
    if not 1 <= severity <= SEVERITIES:
        raise ValueError(f"severity must be 1..{SEVERITIES}, got {severity}")
    return row.apply(image, row.strengths[severity - 1], numpy_rng(seed, "corruption", kind))


def lost_rows(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Every row of pixels starts elsewhere: the receiver lost the sync."""
    shifts = rng.integers(0, image.shape[1], len(image))
    places = (np.arange(image.shape[1])[None] - shifts[:, None]) % image.shape[1]
    return np.take_along_axis(image, places[:, :, None], axis=1)


def shuffled_blocks(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Blocks of a fourteenth of the edge at wrong places, as a damaged video stream shows."""
    edge = max(1, min(image.shape[:2]) // 14)
    rows, columns = (side // edge for side in image.shape[:2])
    whole = image[: rows * edge, : columns * edge]
    blocks = whole.reshape(rows, edge, columns, edge, 3).swapaxes(1, 2).reshape(-1, edge, edge, 3)
    mixed = blocks[rng.permutation(len(blocks))].reshape(rows, columns, edge, edge, 3)
    out = image.copy()
    out[: rows * edge, : columns * edge] = mixed.swapaxes(1, 2).reshape(whole.shape)
    return out


def static(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A tenth of the picture under the noise of an empty channel."""
    noise = rng.integers(0, 256, (*image.shape[:2], 1))
    return np.rint(0.1 * image + 0.9 * noise).astype(np.uint8)


def smeared(image: Pixels, rng: np.random.Generator) -> Pixels:
    """One row of pixels repeated over the frame: a sensor that is read out once."""
    return np.broadcast_to(image[rng.integers(len(image))], image.shape).copy()


def covered(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A finger or a lid on the lens: a dark blur with grain."""
    far = Image.fromarray(image).filter(ImageFilter.GaussianBlur(max(image.shape[:2]) / 4))
    dark = 0.12 * np.asarray(far) + rng.normal(6, 3, image.shape)
    return dark.clip(0, 255).astype(np.uint8)


FRAMES: Mapping[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "lost rows": lost_rows,
    "shuffled blocks": shuffled_blocks,
    "static": static,
    "smeared": smeared,
    "covered": covered,
}


def broken_frames(images: Pixels, count: int, seed: int) -> Pixels:
    """``count`` frames ``(count, H, W, 3)`` of images ``(N, H, W, 3)``, each kind in turn."""
    kinds = list(FRAMES.values())
    out = []
    for index in range(count):
        rng = numpy_rng(seed, "broken frame", index)
        image = np.asarray(images[int(rng.integers(len(images)))])
        out.append(kinds[index % len(kinds)](image, rng))
    return np.stack(out)
