"""Cut-outs: several randomly transformed views of an image that is being optimized.

``generate.inversion.augment`` says how they differ from the image pooled to the teacher's size,
half average and half maximum:

    none     not at all
    noise    by a little noise
    full     as in VQGAN-CLIP's code (nerdyrodent/VQGAN-CLIP): with probability 0.7 each rotated,
             shifted and sheared, warped in perspective, changed in color, and erased in one
             rectangle (the same in all cut-outs of an image), then noise
    auto     full for images of `FULL_FROM` pixels and more, noise for smaller ones

The full ones are made for 224 pixels. At 32, resampling and colors cover what a style changes.

Both warps are one resampling and the four color changes one matrix, so a cut-out costs about as
much as its noise. Everything random about image i follows from its own seed and the step, not from
the other images of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from compress.engine.seeds import numpy_rng, torch_rng

FULL_FROM = 128  # pixels of the image; ours, between the 32 and the 224 that were tried
PROBABILITY = 0.7  # of each transformation
DEGREES = 15.0
TRANSLATE = 0.1
SHEAR_DEGREES = 5.0
PERSPECTIVE = 0.7  # how far a corner moves inwards at most, of half the edge
JITTER = 0.1  # of brightness, contrast and saturation around 1, and of hue in turns
ERASED_AREA = (0.1, 0.4)
ERASED_RATIO = (0.3, 1 / 0.3)
NOISE = 0.1  # largest standard deviation

_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
_LUMA = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def augmentation(name: str, image_size: int) -> str:
    """The row of `AUGMENTATIONS` that a setting stands for with images of so many pixels."""
    if name != "auto":
        return name
    return "full" if image_size >= FULL_FROM else "noise"


def cutouts(
    images: Tensor, seeds: Sequence[int], step: int, *, count: int, size: int, augment: str = "full"
) -> Tensor:
    """``(B, 3, S, S)`` in [0, 1] -> ``(B, count, 3, size, size)``, with gradients.

    Row i follows ``seeds[i]`` and ``step``. ``augment`` is a row of `AUGMENTATIONS`.
    """
    batch = pool(images, size)[:, None].expand(-1, count, -1, -1, -1)
    return AUGMENTATIONS[augment](batch, seeds, step)


def unchanged(cuts: Tensor, seeds: Sequence[int], step: int) -> Tensor:
    """The cut-outs ``(B, count, 3, S, S)`` as they are."""
    return cuts


def noised(cuts: Tensor, seeds: Sequence[int], step: int) -> Tensor:
    """Normal noise on each, of a standard deviation of its own up to `NOISE`."""
    count = cuts.shape[1]
    drawn = [numpy_rng(seed, "noise level", step).uniform(0, NOISE, count) for seed in seeds]
    return _with_noise(cuts, torch.from_numpy(np.stack(drawn)), seeds, step)


def transformed(cuts: Tensor, seeds: Sequence[int], step: int) -> Tensor:
    """Warped, recolored, erased and noised, as `CutoutParameters` draws it."""
    count, size = cuts.shape[1], cuts.shape[-1]
    drawn = [CutoutParameters(numpy_rng(seed, "cutouts", step), count, size) for seed in seeds]

    def stacked(name: str) -> Tensor:
        arrays = np.concatenate([getattr(parameters, name) for parameters in drawn])
        return torch.from_numpy(arrays).to(cuts.device, torch.float32)

    warped = warp(cuts.flatten(0, 1), stacked("homographies"))
    colored = recolor(warped, stacked("colors"), stacked("contrasts")).view(cuts.shape)
    erased = colored * stacked("kept")[:, None, None]
    return _with_noise(erased, stacked("noise").view(cuts.shape[:2]), seeds, step)


# generate.inversion.augment -> what is done to the cut-outs; "auto" is one of these by image size.
AUGMENTATIONS: dict[str, Callable[[Tensor, Sequence[int], int], Tensor]] = {
    "none": unchanged,
    "noise": noised,
    "full": transformed,
}


def _with_noise(cuts: Tensor, deviations: Tensor, seeds: Sequence[int], step: int) -> Tensor:
    """Normal noise with deviations ``(B, count)``, that of image i from its own seed."""
    rows = [torch.randn(cuts.shape[1:], generator=torch_rng(seed, "noise", step)) for seed in seeds]
    return cuts + torch.stack(rows).to(cuts.device) * deviations.to(cuts)[..., None, None, None]


def pool(images: Tensor, size: int) -> Tensor:
    """Half average, half maximum pooling of ``(B, C, S, S)`` to ``size``."""
    if images.shape[-1] == size:
        return images  # what both poolings would give
    average = functional.adaptive_avg_pool2d(images, size)
    return (average + functional.adaptive_max_pool2d(images, size)) / 2


def warp(images: Tensor, homographies: Tensor) -> Tensor:
    """Images ``(N, C, S, S)`` by ``(N, 3, 3)`` from output to input coordinates in [-1, 1]."""
    size = images.shape[-1]
    axis = (torch.arange(size, device=images.device, dtype=torch.float32) * 2 + 1) / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)
    moved = points @ homographies.transpose(1, 2)
    depth = moved[..., 2:].clamp(min=1e-3)  # points behind the camera land far outside
    grid = (moved[..., :2] / depth).clamp(-4, 4).view(-1, size, size, 2)
    return functional.grid_sample(images, grid, align_corners=False)  # bilinear, 0 outside


def recolor(images: Tensor, colors: Tensor, contrasts: Tensor) -> Tensor:
    """``colors`` ``(N, 3, 3)``, then contrast ``(N,)`` around the mean gray, clamped to [0, 1]."""
    flat = torch.bmm(colors, images.flatten(2))
    luma = flat.new_tensor(_LUMA)
    gray = torch.einsum("ncp,c->n", flat, luma)[:, None, None] / flat.shape[-1]
    contrast = contrasts[:, None, None]
    return (flat * contrast + gray * (1 - contrast)).clamp(0, 1).view_as(images)


class CutoutParameters:
    """Everything random about the cut-outs of one image at one step, except the noise itself.

    Attributes:
        homographies: ``(count, 3, 3)``, from output to input coordinates.
        colors: ``(count, 3, 3)``, on RGB.
        contrasts: ``(count,)``.
        kept: ``(1, size, size)``, 0 where the image is erased.
        noise: ``(count,)`` standard deviations.
    """

    def __init__(self, rng: np.random.Generator, count: int, size: int) -> None:
        happens = rng.random((3, count)) < PROBABILITY
        affine = np.where(happens[0, :, None, None], _affines(rng, count), np.eye(3))
        inwards = PERSPECTIVE * rng.random((count, 4, 2)) * happens[1, :, None, None]
        perspective = homography(_CORNERS * (1 - inwards), np.tile(_CORNERS, (count, 1, 1)))
        self.homographies = np.linalg.inv(affine) @ perspective
        factors = 1 + JITTER * rng.uniform(-1, 1, (3, count)) * happens[2]
        hue = JITTER * rng.uniform(-1, 1, count) * happens[2]
        self.colors = factors[0, :, None, None] * _chroma(factors[1], hue)
        self.contrasts = factors[2]
        self.kept = np.ones((1, size, size))
        if rng.random() < PROBABILITY:
            top, left, height, width = _rectangle(rng, size)
            self.kept[0, top : top + height, left : left + width] = 0
        self.noise = rng.uniform(0, NOISE, count)


def homography(sources: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices ``(N, 3, 3)`` that map four points ``(N, 4, 2)`` each to their targets."""
    ones = np.ones((len(sources), 4, 1))
    head = np.concatenate([sources, ones, np.zeros((len(sources), 4, 3))], -1)
    rows = [
        np.concatenate([np.roll(head, 3 * axis, -1), -sources * targets[..., axis, None]], -1)
        for axis in (0, 1)
    ]
    right = np.concatenate([targets[..., 0], targets[..., 1]], 1)
    solved = np.linalg.solve(np.concatenate(rows, 1), right[..., None])[..., 0]
    return np.concatenate([solved, np.ones((len(solved), 1))], 1).reshape(-1, 3, 3)


def _affines(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Rotation, shift and shear ``(count, 3, 3)`` in coordinates of [-1, 1]."""
    angle = np.deg2rad(rng.uniform(-DEGREES, DEGREES, count))
    shear = np.tan(np.deg2rad(rng.uniform(-SHEAR_DEGREES, SHEAR_DEGREES, (2, count))))
    cos = np.cos(angle)
    sin = np.sin(angle)
    one = np.ones(count)
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
    lean = np.stack([np.stack([one, shear[0]], -1), np.stack([shear[1], one], -1)], 1)
    out = np.tile(np.eye(3), (count, 1, 1))
    out[:, :2, :2] = turn @ lean
    out[:, :2, 2] = 2 * rng.uniform(-TRANSLATE, TRANSLATE, (count, 2))
    return out


def _chroma(saturation: NDArray[np.float64], hue: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGB matrices ``(count, 3, 3)`` that scale chroma and rotate it by ``hue`` turns."""
    angle = 2 * np.pi * hue
    cos = saturation * np.cos(angle)
    sin = saturation * np.sin(angle)
    turn = np.tile(np.eye(3), (len(hue), 1, 1))
    turn[:, 1:, 1:] = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
    out: NDArray[np.float64] = np.linalg.inv(_YIQ) @ turn @ _YIQ
    return out


def _rectangle(rng: np.random.Generator, size: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the erased part."""
    area = rng.uniform(*ERASED_AREA) * size * size
    ratio = np.exp(rng.uniform(*np.log(ERASED_RATIO)))
    height, width = (
        int(np.clip(round(np.sqrt(value)), 1, size)) for value in (area * ratio, area / ratio)
    )
    return int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1)), height, width
