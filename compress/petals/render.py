"""Draws flowers: attribute rows in, 32 px uint8 images out. Batched NumPy, about 2 ms an image a
core.

Every image is a function of (attributes, style, its own seed) and of nothing else: all of its
random numbers are drawn from its own counter-based generator before the batch is rasterized, so
batch size and order change no pixel.

What varies between two pictures of one flower (the nuisances) comes in three groups that
:class:`Nuisance` scales: pose (place, scale, rotation, foreshortening, petal width, wobble),
clutter (background, leaves behind, a neighbor flower, an occluding leaf) and light (illumination,
color, exposure, blur, noise).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.petals import attributes as at

SIZE = 32
SUPERSAMPLING = 2
CHUNK = 64  # images rasterized together; keeps the temporaries near the last-level cache

_WIDE = SIZE * SUPERSAMPLING
_EDGE = (
    22.0  # alpha slope at a shape's edge, per unit of flower radius: about one supersampled pixel
)
_COUNTS = np.array(at.COUNTS, np.float32)
_PETAL_RGB = np.array(list(at.COLORS.values()), np.float32)
_CENTER_RGB = np.array(list(at.CENTER_COLORS.values()), np.float32)
_CENTER_RADIUS = np.array((0.16, 0.30), np.float32)  # small, large
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

# Every uniform number an image needs, by name: shape of one image's draw.
_UNIFORMS: dict[str, tuple[int, ...]] = {
    "ground": (),
    "ground_tint": (3,),
    "coarse_luma": (4, 4, 1),
    "coarse_rgb": (4, 4, 3),
    "fine_luma": (16, 16, 1),
    "place": (2,),
    "scale": (),
    "rotation": (),
    "tilt": (),
    "tilt_direction": (),
    "width": (),
    "wobble": (),
    "petal_tint": (3,),
    "neighbour": (),
    "neighbour_kind": (),
    "neighbour_pose": (6,),
    "behind": (),
    "behind_leaf": (6,),
    "occluder": (),
    "occluder_leaf": (6,),
    "light": (2, 2, 1),
    "exposure": (),
    "white_balance": (3,),
    "blur": (),
    "noise": (),
}
_TOTAL = sum(int(np.prod(shape)) for shape in _UNIFORMS.values())


@dataclass(frozen=True)
class Nuisance:
    """How strongly the three groups of nuisances vary; 1 is the world's own strength, 0 switches a
    group off.
    """

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
    """The pictures uint8 (N, 32, 32, 3) of the flowers ``attributes`` (N, 7), image i drawn from
    ``seeds[i]`` alone.

    ``styles`` are indices into ``STYLES``; ``neighbors`` are the flower numbers a clutter flower
    may have (all, when None).
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
    draws, count = _Draws(seeds), len(attributes)
    pose, light = nuisance.pose, nuisance.light
    image = _background(draws, nuisance.clutter)
    _add_neighbors(image, draws, kinds, nuisance.clutter)
    center = draws.span("place", -0.2, 0.2) * pose
    radius = 0.86 * (1 + draws.span("scale", -0.22, 0.12) * pose)
    _add_leaves(image, draws, "behind", 0.5, center, radius, reach=0.5, size=(0.95, 0.95))
    u, v = _flower_frame(
        center,
        radius,
        draws.span("rotation", 0, 2 * np.pi),
        1 + draws.span("tilt", 0, 0.5) * pose,
        draws.span("tilt_direction", 0, 2 * np.pi),
    )
    wobble = 1 + 0.08 * pose * np.sin(
        3 * np.arctan2(v, u) + draws.span("wobble", 0, 2 * np.pi)[:, None]
    )
    rgb, alpha = _flower(
        u * wobble, v * wobble, attributes, 1 + draws.span("width", -0.15, 0.10)[:, None] * pose
    )
    rgb = np.clip(rgb * (1 + draws.span("petal_tint", -0.1, 0.1)[:, None] * light), 0, 1)
    _blend(image, rgb, alpha)
    _add_leaves(
        image,
        draws,
        "occluder",
        0.3 * nuisance.clutter,
        center,
        radius,
        reach=0.75,
        size=(0.3, 0.55),
    )
    image = image.reshape(count, _WIDE, _WIDE, 3)
    image *= _upsample(1 + draws.span("light", -0.35, 0.35) * light)
    image *= (1 + draws.span("exposure", -0.25, 0.2) * light)[:, None, None, None]
    image *= (1 + draws.span("white_balance", -0.07, 0.07) * light)[:, None, None]
    for style, restyle in _RESTYLE_WIDE.items():
        chosen = styles == style
        image[chosen] = restyle(image[chosen])
    image = image.reshape(count, SIZE, SUPERSAMPLING, SIZE, SUPERSAMPLING, 3).mean((2, 4))
    amount = np.minimum(draws.span("blur", 0, 0.9) * light, 1) * (
        styles == at.STYLES.index("photo")
    )
    image += amount[:, None, None, None] * (_blurred(image) - image)
    night, fog = styles == at.STYLES.index("night"), styles == at.STYLES.index("fog")
    image[night] = image[night] * 0.38 * np.array((0.8, 0.9, 1.25), np.float32) + 0.02
    image[fog] = image[fog] * 0.42 + 0.45
    sigma = draws.span("noise", 0.005, 0.055) * light + 0.03 * night
    image += draws.noise * sigma[:, None, None, None]
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


# ---- the flower
# -----------------------------------------------------------------------------------------------------


def _half_width(x: np.ndarray, shape: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Half the petal's width (B, P) at distance x from the center, both in flower radii.

    ``reach`` (B, 1) is tan(pi / petals): a petal keeps to four fifths of its sector, so that the
    gaps between petals stay visible and the petals can be counted at 32 px.
    """
    x = np.clip(x, 0, 1)
    widths = (
        0.36 * np.sqrt(np.clip(1 - ((x - 0.58) / 0.42) ** 2, 0, 1)),  # round
        0.82 * x * np.clip(1 - x, 0, 1) ** 0.9,  # pointed
        0.40
        * np.sqrt(np.clip(1 - ((x - 0.60) / 0.44) ** 2, 0, 1)),  # notched, before the notch is cut
        0.145 * (x < 0.97),  # strap
    )
    return np.minimum(np.choose(shape, widths), 0.8 * x * reach + 0.015)


def _petal_layer(
    theta: np.ndarray, r: np.ndarray, attributes: np.ndarray, width: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One ring of petals: (inside, x, across), all (B, P).

    ``inside`` is the signed distance to the nearest petal's edge (positive within it), x the place
    along that petal (0 center, 1 tip) and ``across`` the place between its midline (0) and its edge
    (1).
    """
    petals, shape = _COUNTS[attributes[:, at.COUNT]][:, None], attributes[:, at.SHAPE][:, None]
    sector = 2 * np.pi / petals
    angle = theta - np.round(theta / sector) * sector
    x, y = r / scale * np.cos(angle), np.abs(r / scale * np.sin(angle))
    half = _half_width(x, shape, np.tan(np.pi / petals)) * width
    inside = half - y
    notch = np.sqrt((x - 1.0) ** 2 + y**2) - 0.24
    inside = np.where(shape == at.SHAPES.index("notched"), np.minimum(inside, notch), inside)
    inside = np.where((x <= 0) | (x > 1), -1, inside)
    return inside * scale, x, y / (half + 0.02)


def _flower(
    u: np.ndarray, v: np.ndarray, attributes: np.ndarray, width: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Color (B, P, 3) and alpha (B, P) at the places u, v (B, P), in flower radii from the
    flower's center.
    """
    r, theta = np.sqrt(u * u + v * v), np.arctan2(v, u)
    color = _PETAL_RGB[attributes[:, at.COLOR]][:, None]
    pale = color.mean(-1, keepdims=True) > 0.75
    tip = np.where(pale, np.float32(0.25), np.float32(0.97))  # dark tips on pale petals
    pattern, double = attributes[:, at.PATTERN][:, None], attributes[:, at.LAYERING][:, None] == 1
    rgb, alpha = np.zeros((*r.shape, 3), np.float32) + color, np.zeros_like(r)
    half_sector = np.pi / _COUNTS[attributes[:, at.COUNT]][:, None]
    for inner, scale in ((False, 1.0), (True, 0.58)):
        inside, x, across = _petal_layer(theta + inner * half_sector, r, attributes, width, scale)
        mask = np.clip(inside * _EDGE + 0.5, 0, 1) * (double if inner else 1)
        shade = (0.74 + 0.26 * np.clip(x, 0, 1)) * (1 - 0.3 * np.clip(across, 0, 1) ** 3)
        petal = color * shade[..., None] * (1.18 if inner else 1) + (0.03 if inner else 0)
        tipped = (np.clip((x - 0.70) * 9, 0, 1) * (pattern == at.PATTERNS.index("tipped")))[
            ..., None
        ]
        petal += (tip - petal) * tipped
        veined = (
            np.clip((0.25 - across) * 8, 0, 1)
            * (x < 0.85)
            * (pattern == at.PATTERNS.index("veined"))
        )
        petal *= 1 - 0.65 * veined[..., None]
        petal *= (
            1 - 0.35 * np.clip(1 - np.abs(inside) * 14, 0, 1)[..., None]
        )  # dark rim between petals
        rgb += (petal - rgb) * mask[..., None]
        alpha = np.maximum(alpha, mask)
    radius = _CENTER_RADIUS[attributes[:, at.CENTER_SIZE]][:, None]
    mask = np.clip((radius - r) * _EDGE + 0.5, 0, 1)
    shade = 1 - 0.35 * np.clip(r / radius, 0, 1) ** 2
    center = _CENTER_RGB[attributes[:, at.CENTER_COLOR]][:, None] * shade[..., None]
    rgb += (center - rgb) * mask[..., None]
    return np.clip(rgb, 0, 1).astype(np.float32), np.maximum(alpha, mask).astype(np.float32)


def _flower_frame(
    center: np.ndarray,
    radius: np.ndarray,
    rotation: np.ndarray,
    tilt: np.ndarray,
    direction: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels in the frame of a flower: u, v (B, P) in radii, foreshortened by ``tilt`` along
    ``direction``.
    """
    grid = (np.arange(_WIDE, dtype=np.float32) + 0.5) / _WIDE * 2 - 1
    columns = (grid - center[:, :1]) / radius[:, None]
    rows = (grid - center[:, 1:]) / radius[:, None]
    x, y = np.tile(columns, (1, _WIDE)), np.repeat(rows, _WIDE, axis=1)
    cos, sin = np.cos(direction)[:, None], np.sin(direction)[:, None]
    along, across = cos * x + sin * y, (cos * y - sin * x) * tilt[:, None]
    cos, sin = np.cos(rotation)[:, None], np.sin(rotation)[:, None]
    return cos * along + sin * across, cos * across - sin * along


# ---- what surrounds it
# ----------------------------------------------------------------------------------------------


def _background(draws: _Draws, clutter: float) -> np.ndarray:
    """A blotchy ground (B, P, 3): soil, grass, sky or stone, at two scales of variation."""
    base = _GROUND_RGB[(draws.span("ground") * len(_GROUND_RGB)).astype(int)] + draws.span(
        "ground_tint", -0.12, 0.12
    )
    coarse = draws.span("coarse_luma", -0.22, 0.22) + draws.span("coarse_rgb", -0.08, 0.08)
    ground = base[:, None, None] + clutter * (
        _upsample(coarse) + _upsample(draws.span("fine_luma", -0.12, 0.12))
    )
    return ground.reshape(len(base), -1, 3)


def _add_neighbors(image: np.ndarray, draws: _Draws, kinds: np.ndarray, clutter: float) -> None:
    """Another flower, small and partly outside the frame, in 45 % of the images."""
    chosen = np.flatnonzero(draws.span("neighbour") < 0.45 * clutter)
    if not len(chosen):
        return
    angle, distance, size, rotation, tilt, direction = draws.span("neighbour_pose")[chosen].T
    angle, distance = 2 * np.pi * angle, 0.85 + 0.3 * distance
    center = np.stack((distance * np.cos(angle), distance * np.sin(angle)), 1).astype(np.float32)
    u, v = _flower_frame(
        center, 0.25 + 0.2 * size, 2 * np.pi * rotation, 1 + 0.6 * tilt, 2 * np.pi * direction
    )
    other = at.decode(kinds[(draws.span("neighbour_kind")[chosen] * len(kinds)).astype(int)])
    rgb, alpha = _flower(u, v, other, np.ones((len(chosen), 1), np.float32))
    image[chosen] += (rgb * 0.8 - image[chosen]) * alpha[..., None]


def _add_leaves(
    image: np.ndarray,
    draws: _Draws,
    name: str,
    share: float,
    center: np.ndarray,
    radius: np.ndarray,
    *,
    reach: float,
    size: tuple[float, float],
) -> None:
    """A leaf at about ``reach`` flower radii from the center, in a ``share`` of the images."""
    chosen = np.flatnonzero(draws.span(name) < share)
    if not len(chosen):
        return
    angle, distance, scale, rotation, direction, tone = draws.span(f"{name}_leaf")[chosen].T
    offset = (reach * (0.75 + 0.5 * distance) * radius[chosen])[:, None]
    place = center[chosen] + offset * np.stack(
        (np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)), 1
    )
    long = radius[chosen] * (size[0] + (size[1] - size[0]) * scale)
    tilt = np.full(len(chosen), 2.6, np.float32)
    u, v = _flower_frame(place, long, 2 * np.pi * rotation, tilt, 2 * np.pi * direction)
    mask = np.clip((1 - np.sqrt(u * u + v * v)) * 9 + 0.5, 0, 1)[..., None]
    midrib = 1 - 0.3 * (np.abs(v) < 0.1)
    green = (
        np.array((0.16, 0.42, 0.13), np.float32)
        * (0.7 + 0.7 * tone)[:, None, None]
        * midrib[..., None]
    )
    image[chosen] += (green - image[chosen]) * mask


def _blend(image: np.ndarray, rgb: np.ndarray, alpha: np.ndarray) -> None:
    """Lays ``rgb`` (B, P, 3) over ``image`` in place."""
    image += (rgb - image) * alpha[..., None]


def _upsample(grid: np.ndarray) -> np.ndarray:
    """Bilinear (B, g, g, C) -> (B, wide, wide, C) with the grid's corners on the image's
    corners.
    """
    cells = grid.shape[1]
    place = np.linspace(0, cells - 1, _WIDE, dtype=np.float32)
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
    stroke = np.clip(np.arange(_WIDE) // 4 * 4 + 1, 0, _WIDE - 1)
    smeared = 0.4 * image + 0.6 * image[:, stroke][:, :, stroke]
    return np.round(np.clip(smeared * 1.15, 0, 1) * 4) / 4


_RESTYLE_WIDE = {at.STYLES.index("sketch"): _sketch, at.STYLES.index("painting"): _painting}
