"""Renders pictures of flowers: attribute rows in, 32 px uint8 images out; 2 ms an image and core.

Every image is a function of (attributes, style, its own seed) and of nothing else: all of its
random numbers are drawn from its own counter-based generator before the batch is rasterized, so
batch size and order change no pixel.

The variations between two pictures of one flower come in three groups that :class:`Nuisance`
scales: pose (place, scale, rotation, foreshortening, petal width, wobble), clutter (background,
leaves behind, a neighbor flower, an occluding leaf) and light (illumination, color, exposure, blur,
noise).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.petals import attributes as at
from compress.petals.flower import SIZE, SUPERSAMPLING, WIDE, flower, flower_frame

CHUNK = 64  # images rasterized together; keeps the temporaries near the last-level cache

_GROUND_RGB = np.array(  # grass, soil, sky, stone, moss, sand
    [
        (0.20, 0.38, 0.14),
        (0.38, 0.30, 0.18),
        (0.55, 0.66, 0.78),
        (0.50, 0.50, 0.50),
        (0.30, 0.45, 0.25),
        (0.62, 0.55, 0.42),
    ],
    np.float32,
)

# The uniform numbers of an image, by name: shape of one image's draw. Their order is fixed.
_UNIFORMS: dict[str, tuple[int, ...]] = {
    "ground": (),
    "ground_tint": (3,),
    "coarse_luma": (4, 4, 1),
    "coarse_rgb": (4, 4, 3),
    "fine_luma": (16, 16, 1),
    "place": (2,),
    **dict.fromkeys(("scale", "rotation", "tilt", "tilt_direction", "width", "wobble"), ()),
    "petal_tint": (3,),
    **dict.fromkeys(("neighbor", "neighbor_kind"), ()),
    "neighbor_pose": (6,),
    "behind": (),
    "behind_leaf": (6,),
    "occluder": (),
    "occluder_leaf": (6,),
    "light": (2, 2, 1),
    "exposure": (),
    "white_balance": (3,),
    **dict.fromkeys(("blur", "noise"), ()),
}
_TOTAL = sum(int(np.prod(shape)) for shape in _UNIFORMS.values())
# leaf -> how far from the flower's center, its shortest and longest half, all in flower radii
_LEAVES = {"behind": (0.5, 0.95, 0.95), "occluder": (0.75, 0.3, 0.55)}


@dataclass(frozen=True)
class Nuisance:
    """Strength of the three groups of variations; 0 switches a group off."""

    pose: float = 1.0
    clutter: float = 1.0
    light: float = 1.0


FULL_NUISANCE = Nuisance()


class _Draws:
    """The random numbers of a batch, each image's from its own seed."""

    def __init__(self, seeds: Sequence[int]) -> None:
        rows = np.empty((len(seeds), _TOTAL), np.float32)
        self.noise = np.empty((len(seeds), SIZE, SIZE, 3), np.float32)
        for row, noise, seed in zip(rows, self.noise, seeds, strict=True):
            rng = np.random.Generator(np.random.Philox(int(seed)))
            rng.random(out=row, dtype=np.float32)
            rng.standard_normal(out=noise, dtype=np.float32)
        self._fields: dict[str, np.ndarray] = {}
        start = 0
        for name, shape in _UNIFORMS.items():
            stop = start + int(np.prod(shape))
            self._fields[name] = rows[:, start:stop].reshape(len(seeds), *shape)
            start = stop

    def span(self, name: str, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """The named uniforms (B, ...) stretched to [low, high)."""
        return np.float32(low) + np.float32(high - low) * self._fields[name]


def render(
    attributes: np.ndarray,
    seeds: Sequence[int],
    styles: np.ndarray | int = 0,
    *,
    neighbors: np.ndarray | None = None,
    nuisance: Nuisance = FULL_NUISANCE,
) -> np.ndarray:
    """Pictures uint8 (N, 32, 32, 3) of flowers (N, 7), image i from ``seeds[i]`` alone.

    Args:
        styles: indices into ``STYLES``, (N,) or one for all.
        neighbors: flower numbers that a clutter flower may have; all by default.
    """
    attributes = np.asarray(attributes, np.int64)
    styles = np.broadcast_to(np.asarray(styles, np.int64), (len(attributes),))
    kinds = at.allowed_codes(frozenset()) if neighbors is None else neighbors
    out = np.empty((len(attributes), SIZE, SIZE, 3), np.uint8)
    for start in range(0, len(attributes), CHUNK):
        part = slice(start, start + CHUNK)
        out[part] = _render_chunk(attributes[part], seeds[part], styles[part], kinds, nuisance)
    return out


def _render_chunk(
    attributes: np.ndarray,
    seeds: Sequence[int],
    styles: np.ndarray,
    kinds: np.ndarray,
    nuisance: Nuisance,
) -> np.ndarray:
    draws = _Draws(seeds)
    count = len(attributes)
    pose = nuisance.pose
    light = nuisance.light
    photo = at.STYLES.index("photo")
    image = _background(draws, nuisance.clutter)
    _add_neighbors(image, draws, kinds, nuisance.clutter)
    center = draws.span("place", -0.2, 0.2) * pose
    radius = 0.86 * (1 + draws.span("scale", -0.22, 0.12) * pose)
    _add_leaves(image, draws, "behind", 0.5, center, radius)
    u, v = flower_frame(
        center,
        radius,
        draws.span("rotation", 0, 2 * np.pi),
        1 + draws.span("tilt", 0, 0.5) * pose,
        draws.span("tilt_direction", 0, 2 * np.pi),
    )
    wave = 3 * np.arctan2(v, u) + draws.span("wobble", 0, 2 * np.pi)[:, None]
    wobble = 1 + 0.08 * pose * np.sin(wave)
    width = 1 + draws.span("width", -0.15, 0.10)[:, None] * pose
    rgb, alpha = flower(u * wobble, v * wobble, attributes, width)
    rgb = np.clip(rgb * (1 + draws.span("petal_tint", -0.1, 0.1)[:, None] * light), 0, 1)
    image += (rgb - image) * alpha[..., None]
    _add_leaves(image, draws, "occluder", 0.3 * nuisance.clutter, center, radius)
    image = image.reshape(count, WIDE, WIDE, 3)
    image *= _upsample(1 + draws.span("light", -0.35, 0.35) * light)
    image *= (1 + draws.span("exposure", -0.25, 0.2) * light)[:, None, None, None]
    image *= (1 + draws.span("white_balance", -0.07, 0.07) * light)[:, None, None]
    for style, restyle in RESTYLED.items():
        styled = styles == style
        image[styled] = restyle(image[styled])
    image = image.reshape(count, SIZE, SUPERSAMPLING, SIZE, SUPERSAMPLING, 3).mean((2, 4))
    amount = np.minimum(draws.span("blur", 0, 0.9) * light, 1) * (styles == photo)
    image += amount[:, None, None, None] * (_blurred(image) - image)
    night = styles == at.STYLES.index("night")
    fog = styles == at.STYLES.index("fog")
    image[night] = image[night] * 0.38 * np.array((0.8, 0.9, 1.25), np.float32) + 0.02
    image[fog] = image[fog] * 0.42 + 0.45
    sigma = draws.span("noise", 0.005, 0.055) * light + 0.03 * night
    image += draws.noise * sigma[:, None, None, None]
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _background(draws: _Draws, clutter: float) -> np.ndarray:
    """A blotchy ground (B, P, 3): soil, grass, sky or stone, at two scales of variation."""
    kind = (draws.span("ground") * len(_GROUND_RGB)).astype(int)
    base = _GROUND_RGB[kind] + draws.span("ground_tint", -0.12, 0.12)
    coarse = draws.span("coarse_luma", -0.22, 0.22) + draws.span("coarse_rgb", -0.08, 0.08)
    fine = draws.span("fine_luma", -0.12, 0.12)
    ground = base[:, None, None] + clutter * (_upsample(coarse) + _upsample(fine))
    return ground.reshape(len(base), -1, 3)


def _add_neighbors(image: np.ndarray, draws: _Draws, kinds: np.ndarray, clutter: float) -> None:
    """Another flower, small and partly outside the frame, in 45 % of the images."""
    rows = np.flatnonzero(draws.span("neighbor") < 0.45 * clutter)
    if not len(rows):
        return
    angle, distance, size, rotation, tilt, direction = draws.span("neighbor_pose")[rows].T
    angle = 2 * np.pi * angle
    distance = 0.85 + 0.3 * distance
    center = np.stack((distance * np.cos(angle), distance * np.sin(angle)), 1).astype(np.float32)
    u, v = flower_frame(
        center, 0.25 + 0.2 * size, 2 * np.pi * rotation, 1 + 0.6 * tilt, 2 * np.pi * direction
    )
    other = at.decode(kinds[(draws.span("neighbor_kind")[rows] * len(kinds)).astype(int)])
    rgb, alpha = flower(u, v, other, np.ones((len(rows), 1), np.float32))
    image[rows] += (rgb * 0.8 - image[rows]) * alpha[..., None]


def _add_leaves(
    image: np.ndarray, draws: _Draws, name: str, rate: float, center: np.ndarray, radius: np.ndarray
) -> None:
    """A leaf at about ``reach`` flower radii from the center, at a ``rate`` of the images."""
    rows = np.flatnonzero(draws.span(name) < rate)
    if not len(rows):
        return
    reach, shortest, longest = _LEAVES[name]
    angle, distance, scale, rotation, direction, tone = draws.span(f"{name}_leaf")[rows].T
    offset = (reach * (0.75 + 0.5 * distance) * radius[rows])[:, None]
    toward = np.stack((np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)), 1)
    place = center[rows] + offset * toward
    long = radius[rows] * (shortest + (longest - shortest) * scale)
    tilt = np.full(len(rows), 2.6, np.float32)
    u, v = flower_frame(place, long, 2 * np.pi * rotation, tilt, 2 * np.pi * direction)
    mask = np.clip((1 - np.sqrt(u * u + v * v)) * 9 + 0.5, 0, 1)[..., None]
    midrib = 1 - 0.3 * (np.abs(v) < 0.1)
    green = np.array((0.16, 0.42, 0.13), np.float32)
    green = green * (0.7 + 0.7 * tone)[:, None, None] * midrib[..., None]
    image[rows] += (green - image[rows]) * mask


def _upsample(grid: np.ndarray) -> np.ndarray:
    """Bilinear (B, g, g, C) -> (B, wide, wide, C), corners on corners."""
    cells = grid.shape[1]
    place = np.linspace(0, cells - 1, WIDE, dtype=np.float32)
    low = np.minimum(place.astype(int), cells - 2)
    part = place - low
    rows = grid[:, low] * (1 - part)[:, None, None] + grid[:, low + 1] * part[:, None, None]
    return rows[:, :, low] * (1 - part)[:, None] + rows[:, :, low + 1] * part[:, None]


def _blurred(image: np.ndarray) -> np.ndarray:
    """Binomial 3 x 3 blur with replicated borders."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    return (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4


def _sketch(image: np.ndarray) -> np.ndarray:
    """Pale wash with dark outlines where the picture changes."""
    across = np.abs(np.diff(image, axis=2, append=image[:, :, -1:])).sum(-1)
    down = np.abs(np.diff(image, axis=1, append=image[:, -1:])).sum(-1)
    lines = np.clip((across + down) * 2.2, 0, 1)[..., None]
    return (0.65 + 0.30 * image) * (1 - 0.8 * lines)


def _painting(image: np.ndarray) -> np.ndarray:
    """Broad square strokes in five tones."""
    stroke = np.clip(np.arange(WIDE) // 4 * 4 + 1, 0, WIDE - 1)
    smeared = 0.4 * image + 0.6 * image[:, stroke][:, :, stroke]
    return np.round(np.clip(smeared * 1.15, 0, 1) * 4) / 4


RESTYLED = {at.STYLES.index("sketch"): _sketch, at.STYLES.index("painting"): _painting}
