"""Views: augmented versions of an image, each a pure function of one integer.

A view is crop -> flip -> jitter -> RandAugment -> ``(S, S, 3)`` uint8. A target that the teacher
computed for view ``v`` of image ``i`` pairs with exactly these pixels later, in any order and in
any thread.

The operations, their strengths and the magnitude scale 0..30 are those of RandAugment (arXiv
1909.13719) as torchvision implements it for PIL images; a test compares every one with torchvision,
pixel for pixel. torchvision itself draws from the process-wide generator, which threads share.

SIDCLIP's "six augmentations per image" has two readings: six operations per view
(``randaug_num_ops=6``, the default) or six augmented copies (``views=6, randaug_num_ops=1``).
``randaug_num_ops=0`` is its ablation: flip and crop only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from compress.engine.config import ImageSettings, LabelSettings
from compress.engine.seeds import derive, numpy_rng
from runtime.preprocess import INTERPOLATIONS

MOST_EACH = 64  # views of an image of few; beyond it nothing was gained
MAX_MAGNITUDE = 30  # torchvision's num_magnitude_bins - 1
JITTERED: tuple[type[Any], ...] = (
    ImageEnhance.Brightness,
    ImageEnhance.Contrast,
    ImageEnhance.Color,
)
LOG_RATIO = math.log(4 / 3)  # aspect ratios 3/4 .. 4/3, as in RandomResizedCrop


@dataclass(frozen=True)
class ViewRecipe:
    """How views are rendered.

    Attributes:
        size: edge S of a view in pixels.
        resize: edge of the test images before their crop; no view depends on it, it is a record.
        crop_scale_min: smallest share of the image's area that a crop keeps.
        flip: whether half of the views are mirrored.
        num_ops: RandAugment operations per view, of strength ``magnitude`` (0..30).
        noise: largest standard deviation of the Gaussian noise added last, of the range 0..1; each
            view draws its own. Diffusion images lack a camera's grain: batch statistics notice.
        rotate: largest rotation either way before the crop, in degrees; 180 for classes without an
            up, such as flowers from above.
        jitter: largest change of brightness, contrast and saturation, each by a factor of its own
            in 1 - jitter .. 1 + jitter.
    """

    size: int
    resize: int
    interpolation: str = "bicubic"
    crop_scale_min: float = 0.5
    flip: bool = True
    num_ops: int = 6
    magnitude: int = 9
    noise: float = 0.0
    rotate: float = 0.0
    jitter: float = 0.0

    def at(self, size: int) -> ViewRecipe:
        """The same views at another edge: the same crop box, flip, turn and operations.

        Only the grain is drawn anew: there is one draw per pixel.
        """
        return replace(self, size=size)

    @classmethod
    def from_settings(cls, label: LabelSettings, image: ImageSettings) -> ViewRecipe:
        """The recipe of a run."""
        crop = (image.size, image.resize, image.interpolation, label.crop_scale_min, label.flip)
        operations = (label.randaug_num_ops, label.randaug_magnitude)
        return cls(*crop, *operations, label.noise, label.rotate, label.jitter)


def views_each(images: int, views: int, most: int, least: int = 0) -> int:
    """Views of each image: ``views``, or as many as keep all together within limits.

    Args:
        most: views of all images together, at most.
        least: at least, unless each image had more than ``MOST_EACH``.
    """
    images = max(1, images)
    wanted = max(views, min(MOST_EACH, -(-least // images)))
    return max(1, min(wanted, most // images))


def sampled(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Rows of at most ``most`` images in their order, of every class as many as of the others.

    Args:
        labels: class of each image, ``(N,)``.
        seed: decides which images of a class.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    mixed = numpy_rng(seed, "sampled").permutation(len(labels))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    counts = np.bincount(labels)
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    ranks = np.arange(len(labels)) - firsts  # of an image in its class
    return np.sort(by_class[np.argsort(ranks, kind="stable")[:most]])


def render_view(image: np.ndarray, recipe: ViewRecipe, seed: int) -> np.ndarray:
    """One view of an image, ``(H, W, 3)`` -> ``(S, S, 3)``, uint8; the same seed, the same bytes.

    All randomness but rotation, jitter and noise is one vector of uniforms read by position: four
    for the crop, one for the flip, two per operation. ``num_ops`` changes neither crop nor flip.
    """
    u = numpy_rng(seed, "view").random(5 + 2 * recipe.num_ops)
    whole = _rotated(image, recipe.rotate, seed) if recipe.rotate else Image.fromarray(image)
    view = _crop(whole, recipe, *u[:4])
    if recipe.flip and u[4] < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if recipe.jitter:
        view = _jittered(view, recipe.jitter, seed)
    level = recipe.magnitude / MAX_MAGNITUDE
    for which, sign in u[5:].reshape(-1, 2):
        operation = OPERATIONS[int(which * len(OPERATIONS))]
        view = operation(view, level, 1.0 if sign < 0.5 else -1.0)
    pixels = np.asarray(view, np.uint8)
    return _grainy(pixels, recipe.noise, seed) if recipe.noise else pixels


def submit_views(
    threads: ThreadPoolExecutor,
    recipe: ViewRecipe,
    images: np.ndarray,
    rows: Iterable[int],
    views: int,
    run_seed: int,
    pool: str,
) -> list[Future[np.ndarray]]:
    """Starts rendering images: row ``i * views + v`` is view v of the i-th of ``rows``."""
    return [
        threads.submit(
            render_view, np.asarray(images[i]), recipe, derive(run_seed, "view", pool, i, v)
        )
        for i in map(int, rows)
        for v in range(views)
    ]


def _rotated(image: np.ndarray, limit: float, seed: int) -> Image.Image:
    """The image rotated by up to ``limit`` degrees either way, its corners filled by reflection."""
    angle = limit * (2 * numpy_rng(seed, "turn").random() - 1)
    height, width = image.shape[:2]
    border = math.ceil(0.21 * max(height, width))  # half a diagonal minus half a side
    padded = np.pad(image, ((border, border), (border, border), (0, 0)), mode="reflect")
    rotated = Image.fromarray(padded).rotate(angle, Image.Resampling.BICUBIC)
    return rotated.crop((border, border, border + width, border + height))


def _jittered(view: Image.Image, limit: float, seed: int) -> Image.Image:
    """Brightness, contrast and saturation by random factors, in this order (ColorJitter's)."""
    factors = 1 + limit * (2 * numpy_rng(seed, "jitter").random(len(JITTERED)) - 1)
    for kind, factor in zip(JITTERED, factors, strict=True):
        view = kind(view).enhance(factor)
    return view


def _grainy(view: np.ndarray, limit: float, seed: int) -> np.ndarray:
    """The view with Gaussian noise of a random strength up to ``limit`` of the full range."""
    rng = numpy_rng(seed, "grain")
    noisy = view + 255 * limit * rng.random() * rng.standard_normal(view.shape, np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _crop(
    image: Image.Image, recipe: ViewRecipe, area: float, ratio: float, left: float, top: float
) -> Image.Image:
    """RandomResizedCrop from four uniforms; a side beyond the image is cut, not drawn again."""
    width, height = image.size
    target = (recipe.crop_scale_min + area * (1 - recipe.crop_scale_min)) * width * height
    aspect = math.exp((2 * ratio - 1) * LOG_RATIO)
    w = min(math.sqrt(target * aspect), width)
    h = min(math.sqrt(target / aspect), height)
    x = left * (width - w)
    y = top * (height - h)
    how = INTERPOLATIONS[recipe.interpolation]
    return image.resize((recipe.size,) * 2, how, box=(x, y, x + w, y + h))


# (image, level in 0..1, sign +1 or -1) -> image
Operation = Callable[[Image.Image, float, float], Image.Image]


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


def _shift(edge: int, level: float, sign: float) -> int:
    return -int(sign * level * 150 / 331 * edge)


def _enhance(kind: type[Any]) -> Operation:
    return lambda image, level, sign: kind(image).enhance(1 + sign * 0.9 * level)


# Rows in torchvision's order; the table is what RandAugment draws from.
OPERATIONS: tuple[Operation, ...] = (
    lambda image, level, sign: image,
    # two shears about the top left corner, two translations, a rotation
    lambda image, level, sign: _affine(image, 1, sign * 0.3 * level, 0, 0, 1, 0),
    lambda image, level, sign: _affine(image, 1, 0, 0, sign * 0.3 * level, 1, 0),
    lambda image, level, sign: _affine(image, 1, 0, _shift(image.width, level, sign), 0, 1, 0),
    lambda image, level, sign: _affine(image, 1, 0, 0, 0, 1, _shift(image.height, level, sign)),
    lambda image, level, sign: image.rotate(sign * 30 * level, Image.Resampling.NEAREST),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Sharpness),
    lambda image, level, sign: ImageOps.posterize(image, 8 - round(4 * level)),
    lambda image, level, sign: ImageOps.solarize(image, cast(int, 255 * (1 - level))),
    lambda image, level, sign: ImageOps.autocontrast(image),
    lambda image, level, sign: ImageOps.equalize(image),
)
