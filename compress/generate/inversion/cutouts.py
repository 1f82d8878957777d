"""Cut-outs: several randomly transformed looks at an image that is being optimized (methods.md
C.2.4; VQGAN-CLIP [C]).

Each is the image pooled to the teacher's size, half average and half maximum, then with probability
0.7 each turned, shifted and sheared, seen in perspective, changed in color, and erased in one
rectangle (the same in all cut-outs of an image), plus a little noise. The two movements are one
resampling and the four color changes one matrix: a cut-out costs about as much as its noise.
    Everything random about image i follows from its own seed and the step, so it does not depend on
which images it is optimized together with.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from compress.engine.seeds import numpy_rng, torch_rng

PROBABILITY = 0.7  # of each transformation
DEGREES, TRANSLATE, SHEAR_DEGREES = 15.0, 0.1, 5.0
PERSPECTIVE = 0.7  # how far a corner moves inwards at most, of half the edge
JITTER = 0.1  # of brightness, contrast and saturation around 1, and of hue in turns
ERASED_AREA, ERASED_RATIO = (0.1, 0.4), (0.3, 1 / 0.3)
NOISE = 0.1  # largest standard deviation

_CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
_LUMA = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def cutouts(
    images: Tensor, seeds: Sequence[int], step: int, *, count: int, size: int, augment: bool = True
) -> Tensor:
    """``(B, 3, S, S)`` in [0, 1] -> ``(B, count, 3, size, size)``, with gradients; row i from
    ``seeds[i]`` and ``step``.

    Without ``augment`` they are ``count`` copies of the pooled image.
    """
    pooled = pool(images, size)
    batch = pooled[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1)
    if not augment:
        return batch.view(len(images), count, *pooled.shape[1:])
    drawn = [Draw(numpy_rng(seed, "cutouts", step), count, size) for seed in seeds]

    def stacked(arrays: Sequence[NDArray[np.float64]]) -> Tensor:
        return torch.from_numpy(np.concatenate(arrays)).to(images.device, torch.float32)

    out = warp(batch, stacked([one.homographies for one in drawn]))
    out = recolor(
        out, stacked([one.colors for one in drawn]), stacked([one.contrasts for one in drawn])
    )
    out = (
        out.view(len(images), count, *pooled.shape[1:])
        * stacked([one.kept for one in drawn])[:, None, None]
    )
    noise = torch.stack(
        [torch.randn(out.shape[1:], generator=torch_rng(s, "noise", step)) for s in seeds]
    )
    return out + noise.to(images.device) * stacked([one.noise for one in drawn]).view(
        len(images), count, 1, 1, 1
    )


def pool(images: Tensor, size: int) -> Tensor:
    """Half average, half maximum pooling of ``(B, C, S, S)`` to ``size``."""
    if images.shape[-1] == size:
        return images  # what both poolings would give
    return (
        functional.adaptive_avg_pool2d(images, size) + functional.adaptive_max_pool2d(images, size)
    ) / 2


def warp(images: Tensor, homographies: Tensor) -> Tensor:
    """Images ``(N, C, S, S)`` resampled at ``homographies`` ``(N, 3, 3)`` of the output's
    coordinates in [-1, 1]; 0 beyond.
    """
    size = images.shape[-1]
    axis = (torch.arange(size, device=images.device, dtype=torch.float32) * 2 + 1) / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)
    moved = places @ homographies.transpose(1, 2)
    depth = moved[..., 2:].clamp(min=1e-3)  # places behind the camera fall far outside
    grid = (moved[..., :2] / depth).clamp(-4, 4).view(-1, size, size, 2)
    return functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def recolor(images: Tensor, colors: Tensor, contrasts: Tensor) -> Tensor:
    """``colors`` ``(N, 3, 3)`` applied to every pixel, then contrast ``(N,)`` around the mean
    gray; clamped to [0, 1].
    """
    flat = torch.bmm(colors, images.flatten(2))
    luma = flat.new_tensor(_LUMA)
    gray = torch.einsum("ncp,c->n", flat, luma)[:, None, None] / flat.shape[-1]
    contrast = contrasts[:, None, None]
    return (flat * contrast + gray * (1 - contrast)).clamp(0, 1).view_as(images)


class Draw:
    """All that is random about the cut-outs of one image at one step, but the noise's values.

    Attributes:
        homographies: ``(count, 3, 3)``, from output to input coordinates.
        colors: ``(count, 3, 3)``; contrasts: ``(count,)``.
        kept: ``(1, size, size)``, 0 where the image is erased.
        noise: ``(count,)`` standard deviations.
    """

    def __init__(self, rng: np.random.Generator, count: int, size: int) -> None:
        happens = rng.random((3, count)) < PROBABILITY
        affine = np.where(happens[0, :, None, None], _affines(rng, count), np.eye(3))
        inwards = PERSPECTIVE * rng.random((count, 4, 2)) * happens[1, :, None, None]
        corners = _CORNERS * (1 - inwards)
        self.homographies = np.linalg.inv(affine) @ homography(
            corners, np.broadcast_to(_CORNERS, corners.shape)
        )
        factors = 1 + JITTER * rng.uniform(-1, 1, (3, count)) * happens[2]
        hue = JITTER * rng.uniform(-1, 1, count) * happens[2]
        self.colors, self.contrasts = (
            factors[0, :, None, None] * _chroma(factors[1], hue),
            factors[2],
        )
        self.kept = np.ones((1, size, size))
        if rng.random() < PROBABILITY:
            top, left, height, width = _rectangle(rng, size)
            self.kept[0, top : top + height, left : left + width] = 0
        self.noise = rng.uniform(0, NOISE, count)


def homography(sources: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(N, 3, 3)`` matrices that take four points ``sources`` ``(N, 4, 2)`` to ``targets`` ``(N,
    4, 2)``.
    """
    x, y = sources[..., 0], sources[..., 1]
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = []
    for axis, head in ((0, [x, y, one, zero, zero, zero]), (1, [zero, zero, zero, x, y, one])):
        target = targets[..., axis]
        rows.append(np.stack([*head, -x * target, -y * target], -1))
    system = np.concatenate(rows, 1)
    wanted = np.concatenate([targets[..., 0], targets[..., 1]], 1)
    solved = np.linalg.solve(system, wanted[..., None])[..., 0]
    return np.concatenate([solved, np.ones((len(solved), 1))], 1).reshape(-1, 3, 3)


def _affines(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Rotation, shift and shear ``(count, 3, 3)`` in coordinates of [-1, 1]."""
    angle = np.deg2rad(rng.uniform(-DEGREES, DEGREES, count))
    shear = np.tan(np.deg2rad(rng.uniform(-SHEAR_DEGREES, SHEAR_DEGREES, (2, count))))
    out = np.tile(np.eye(3), (count, 1, 1))
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 1)
    lean = np.stack(
        [np.stack([np.ones(count), shear[0]], -1), np.stack([shear[1], np.ones(count)], -1)], 1
    )
    out[:, :2, :2] = turn @ lean
    out[:, :2, 2] = 2 * rng.uniform(-TRANSLATE, TRANSLATE, (count, 2))
    return out


def _chroma(saturation: NDArray[np.float64], hue: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGB matrices ``(count, 3, 3)``: chroma scaled by ``saturation`` and turned by ``hue`` turns,
    luma as it was.
    """
    angle = 2 * np.pi * hue
    cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
    turn = np.tile(np.eye(3), (len(hue), 1, 1))
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cos, -sin, sin, cos
    out: NDArray[np.float64] = np.linalg.inv(_YIQ) @ turn @ _YIQ
    return out


def _rectangle(rng: np.random.Generator, size: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of what is erased."""
    area = rng.uniform(*ERASED_AREA) * size * size
    ratio = np.exp(rng.uniform(*np.log(ERASED_RATIO)))
    height, width = (
        int(np.clip(round(np.sqrt(value)), 1, size)) for value in (area * ratio, area / ratio)
    )
    return int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1)), height, width
