"""Draws one flower: its shape and colors at any places of the picture plane."""

from __future__ import annotations

import numpy as np

from compress.petals import attributes as at

SIZE = 32  # edge of a picture, in pixels
SUPERSAMPLING = 2
WIDE = SIZE * SUPERSAMPLING
EDGE = 22.0  # alpha slope at a shape's edge, per flower radius: about one supersampled pixel
COUNTS = np.array(at.COUNTS, np.float32)
PETAL_RGB = np.array(list(at.COLORS.values()), np.float32)
CENTER_RGB = np.array(list(at.CENTER_COLORS.values()), np.float32)
CENTER_RADIUS = np.array((0.16, 0.30), np.float32)  # small, large


def _half_width(x: np.ndarray, shape: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Half the petal's width (B, P) at distance x from the center, both in flower radii.

    ``reach`` (B, 1) is tan(pi / petals): a petal keeps to four fifths of its sector, so that the
    gaps between petals stay visible and the petals can be counted at 32 px.
    """
    x = np.clip(x, 0, 1)
    widths = (
        0.36 * np.sqrt(np.clip(1 - ((x - 0.58) / 0.42) ** 2, 0, 1)),  # round
        0.82 * x * np.clip(1 - x, 0, 1) ** 0.9,  # pointed
        # notched, before the notch is cut
        0.40 * np.sqrt(np.clip(1 - ((x - 0.60) / 0.44) ** 2, 0, 1)),
        0.145 * (x < 0.97),  # strap
    )
    return np.minimum(np.choose(shape, widths), 0.8 * x * reach + 0.015)


def _petal_layer(
    theta: np.ndarray, r: np.ndarray, attributes: np.ndarray, width: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One ring of petals: (inside, x, across), all (B, P).

    ``inside`` is the signed distance to the nearest petal's edge (positive within it), ``x`` the
    place along that petal (0 center, 1 tip), ``across`` from its midline (0) to its edge (1).
    """
    petals = COUNTS[attributes[:, at.COUNT]][:, None]
    shape = attributes[:, at.SHAPE][:, None]
    sector = 2 * np.pi / petals
    angle = theta - np.round(theta / sector) * sector
    x = r / scale * np.cos(angle)
    y = np.abs(r / scale * np.sin(angle))
    half = _half_width(x, shape, np.tan(np.pi / petals)) * width
    inside = half - y
    notch = np.sqrt((x - 1.0) ** 2 + y**2) - 0.24
    inside = np.where(shape == at.SHAPES.index("notched"), np.minimum(inside, notch), inside)
    inside = np.where((x <= 0) | (x > 1), -1, inside)
    return inside * scale, x, y / (half + 0.02)


def flower(
    u: np.ndarray, v: np.ndarray, attributes: np.ndarray, width: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Color (B, P, 3) and alpha (B, P) at u, v (B, P), in flower radii from its center."""
    r = np.sqrt(u * u + v * v)
    theta = np.arctan2(v, u)
    color = PETAL_RGB[attributes[:, at.COLOR]][:, None]
    pale = color.mean(-1, keepdims=True) > 0.75
    tip = np.where(pale, np.float32(0.25), np.float32(0.97))  # dark tips on pale petals
    pattern = attributes[:, at.PATTERN][:, None]
    is_tipped, is_veined = (pattern == at.PATTERNS.index(name) for name in ("tipped", "veined"))
    double = attributes[:, at.LAYERING][:, None] == 1
    rgb = np.zeros((*r.shape, 3), np.float32) + color
    alpha = np.zeros_like(r)
    half_sector = np.pi / COUNTS[attributes[:, at.COUNT]][:, None]
    for inner, scale in ((False, 1.0), (True, 0.58)):
        inside, x, across = _petal_layer(theta + inner * half_sector, r, attributes, width, scale)
        mask = np.clip(inside * EDGE + 0.5, 0, 1) * (double if inner else 1)
        shade = (0.74 + 0.26 * np.clip(x, 0, 1)) * (1 - 0.3 * np.clip(across, 0, 1) ** 3)
        petal = color * shade[..., None] * (1.18 if inner else 1) + (0.03 if inner else 0)
        tipped = np.clip((x - 0.70) * 9, 0, 1) * is_tipped
        petal += (tip - petal) * tipped[..., None]
        veined = np.clip((0.25 - across) * 8, 0, 1) * (x < 0.85) * is_veined
        petal *= 1 - 0.65 * veined[..., None]
        rim = np.clip(1 - np.abs(inside) * 14, 0, 1)  # dark, between petals
        petal *= 1 - 0.35 * rim[..., None]
        rgb += (petal - rgb) * mask[..., None]
        alpha = np.maximum(alpha, mask)
    radius = CENTER_RADIUS[attributes[:, at.CENTER_SIZE]][:, None]
    mask = np.clip((radius - r) * EDGE + 0.5, 0, 1)
    shade = 1 - 0.35 * np.clip(r / radius, 0, 1) ** 2
    center = CENTER_RGB[attributes[:, at.CENTER_COLOR]][:, None] * shade[..., None]
    rgb += (center - rgb) * mask[..., None]
    return np.clip(rgb, 0, 1).astype(np.float32), np.maximum(alpha, mask).astype(np.float32)


def flower_frame(
    center: np.ndarray,
    radius: np.ndarray,
    rotation: np.ndarray,
    tilt: np.ndarray,
    direction: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The pixels in a flower's frame: u, v (B, P) in radii, foreshortened along ``direction``."""
    grid = (np.arange(WIDE, dtype=np.float32) + 0.5) / WIDE * 2 - 1
    columns = (grid - center[:, :1]) / radius[:, None]
    rows = (grid - center[:, 1:]) / radius[:, None]
    x = np.tile(columns, (1, WIDE))
    y = np.repeat(rows, WIDE, axis=1)
    cos = np.cos(direction)[:, None]
    sin = np.sin(direction)[:, None]
    along = cos * x + sin * y
    across = (cos * y - sin * x) * tilt[:, None]
    cos = np.cos(rotation)[:, None]
    sin = np.sin(rotation)[:, None]
    return cos * along + sin * across, cos * across - sin * along
